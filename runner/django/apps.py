"""The app's configuration."""

from __future__ import annotations

from django.apps import AppConfig

from runner.django.home import names_backend


class RunnerConfig(AppConfig):
    """The app; its label, and so the prefix of permissions and of the admin's URLs, is ``runner``."""

    name = "runner.django"
    label = "runner"
    verbose_name = "Runner"

    def ready(self) -> None:
        """Register the system checks, as their modules do when they are imported."""
        from runner.django import archive_check  # noqa: F401 # start-up time: not without this app

        if names_backend():
            # Django 6 checks backends only where something has imported its task framework.
            from runner.django import task_framework  # noqa: F401 # start-up time: not without tasks
