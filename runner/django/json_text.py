"""A model field for JSON in a text column, as in the archive on every type of database."""

from __future__ import annotations

import json
from typing import Any

from django.db import models


class JSONText(models.TextField):
    """JSON in a text column, decoded in Python. Lookups use the text."""

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Any:  # noqa: ARG002
        """Return the decoded value."""
        return None if value is None else json.loads(value)
