"""The generated Celery app: its tasks are the jobs of ``jobs.d``."""
