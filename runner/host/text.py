"""Text that other programs parse line by line."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def has_control(text: str) -> bool:
    """Return whether a control character (a line end, a tab, an escape) stands in ``text``."""
    return _CONTROL.search(text) is not None
