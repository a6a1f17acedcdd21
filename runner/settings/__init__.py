"""``runner.yaml`` and ``RUNNER_*`` variables become :class:`Settings`.

``options.py`` declares the options, ``load.py`` reads them, ``discovery.py`` finds the project, ``environment.py``
has the rule of the variables, ``redis_url.py`` the forms of ``redis_url``, and ``celery_settings.py`` what of Celery
passes through.
"""

from runner.settings.load import load_again, load_settings, read_file
from runner.settings.options import SETTINGS, Limits, Settings, SettingsRetention, WorkerSettings

__all__ = [
    "SETTINGS",
    "Limits",
    "Settings",
    "SettingsRetention",
    "WorkerSettings",
    "load_again",
    "load_settings",
    "read_file",
]
