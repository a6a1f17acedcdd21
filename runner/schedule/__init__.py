"""Compute the slots of schedules. Pure functions; they are outside the model because they need the library cronsim."""
