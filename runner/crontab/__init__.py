"""Crontabs and systemd's timers as text: written out of schedules, and read into jobs. Pure."""
