"""What the runner calls before it imports jobs (``setup: bank.boot:setup``)."""

import os


def setup() -> None:
    """Make Django ready; with BANK_ASKS, ask the database as well, so that the worker's parent has a connection."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bank.settings")
    import django

    django.setup()
    if os.environ.get("BANK_ASKS"):
        from django.db import connection

        with connection.cursor() as cursor:
            cursor.execute("SET application_name = 'parent'")
