"""What the runner calls before it imports jobs (``setup: office.boot:setup``)."""

import os


def setup() -> None:
    """Make Django ready, as manage.py does."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "office.settings")
    import django

    django.setup()
