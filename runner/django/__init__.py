"""A Django app: a backend for Django's task framework, and runs in Django's own database and admin.

``INSTALLED_APPS`` has ``"runner.django"``; ``TASKS`` has the backend ``"runner.django.backend.RunnerBackend"``.
"""
