"""Processes: process groups, the supervisor that ends them, memory, orphans, and notifications to systemd."""
