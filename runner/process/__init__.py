"""Processes: their groups, the supervisor that outlives them, orphans, and what systemd is told."""
