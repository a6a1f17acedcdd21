"""A project on Django whose tasks the runner runs, set up as docs/how-to/django.md says."""
