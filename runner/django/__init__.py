"""A Django app: runs as tasks of Django's task framework, and in Django's own database and admin.

``INSTALLED_APPS`` has ``"runner.django"``; ``TASKS`` has the backend ``"runner.django.backend.RunnerBackend"``.
"""
