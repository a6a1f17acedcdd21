"""Compute the slots of schedules. Pure; right above the model, since cronsim is a library."""
