"""What follows from a declared schedule: its slots. Pure; stands right above the model, since cronsim is a library."""
