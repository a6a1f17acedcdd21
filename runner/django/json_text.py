"""A column of text that holds JSON, as the archive has it for every kind of database."""

from __future__ import annotations

import json
from typing import Any

from django.db import models


class JSONText(models.TextField):
    """JSON in a column of text; in Python the value. Lookups see the text."""

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Any:  # noqa: ARG002
        """Return the value that a text of the database holds."""
        return None if value is None else json.loads(value)
