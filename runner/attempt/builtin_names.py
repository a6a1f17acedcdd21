"""Restore the built-in names, which a job may delete or replace for its whole process.

Hardly any Python code runs without them, so they are restored first, as soon as the job's code has ended. The code that
restores them needs none of them.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from operator import itemgetter
from typing import Any

_table = vars(builtins)
_Anything = BaseException

_kept: dict[str, Any] = {}
_values: object = ()
_changed = False
_shared = False


def _nothing(_: object) -> object:
    return ()


_of_names: Callable[[dict[str, Any]], object] = _nothing


def note() -> None:
    """Save the names. Names that are added later stay: gettext's ``_`` may be meant to stay."""
    global _kept, _values, _of_names, _changed
    _kept = dict(_table)
    _of_names = itemgetter(*_kept)
    _values = _of_names(_kept)
    _changed = False


def note_shared() -> None:
    """Save them for a process with several runs at once, where only missing names are restored."""
    global _shared
    if not _kept:
        _shared = True
        note()


def put_back() -> None:
    """Restore the saved names, if there are any."""
    global _changed
    try:
        if _of_names(_table) == _values:
            return
    except _Anything:
        # A name is missing, or its value cannot be compared.
        _changed = True
    if _shared:
        # Another run may have replaced a name for its duration.
        for name, value in _kept.items():
            if _table.get(name) is None:
                _table[name] = value
        return
    _table.update(_kept)
    _changed = True


def are_whole() -> bool:
    """Return whether nothing had to be restored since the last :func:`acknowledge`."""
    return not _changed


def acknowledge() -> None:
    """Forget that something had to be restored."""
    global _changed
    _changed = False
