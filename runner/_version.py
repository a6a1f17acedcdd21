"""The version, and the one place that names the distribution on PyPI."""

__version__ = "0.1.0"

DISTRIBUTION = "celery-runner"
