"""The types of a queue's name and of a priority."""

from __future__ import annotations

from typing import Final

from runner.model.value_type import Integer, Text

QUEUE_NAME: Final = Text(
    pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
    advice="use 1 to 64 letters, digits, dots, dashes, or underscores",
    is_name=True,
)
PRIORITY: Final = Integer(0, 9)
"""9 is served first."""
