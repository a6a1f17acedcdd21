"""Checks for text that other programs parse line by line."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def has_control(text: str) -> bool:
    """Return whether ``text`` contains a control character (such as a line end, a tab, or an escape)."""
    return _CONTROL.search(text) is not None
