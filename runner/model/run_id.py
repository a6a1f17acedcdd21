"""Check the ids of runs.

An id becomes part of commands and paths (by ``${run.id}``), of Redis keys, and of URLs, and everybody who can write to
Redis can choose one. So only texts of this form are accepted as ids, from any source.
"""

from __future__ import annotations

import re
from typing import TypeGuard

from runner.errors import UsageError

LONGEST_ID = 128
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
ADVICE = (
    f"an id has 1 to {LONGEST_ID} letters, digits, dots, dashes, underscores, and colons, and begins with a letter or "
    "a digit"
)


def is_run_id(text: object) -> TypeGuard[str]:
    """Return whether ``text`` can be the id of a run."""
    return isinstance(text, str) and _RUN_ID.match(text) is not None


def require_run_id(text: object) -> str:
    """Return ``text`` if it can be the id of a run.

    Raises:
        UsageError: it cannot be an id.
    """
    if is_run_id(text):
        return text
    shown = repr(text)
    raise UsageError(f"{shown if len(shown) <= 80 else shown[:79] + '…'} is not an id", hint=ADVICE)
