"""A project on Django without Celery, set up as docs/how-to/django.md says."""
