"""The built-in names, which a job may delete or replace for all of its process.

Without them hardly a line of Python runs, so they are put back as soon as the job's code has ended, before all else.
What does that needs none of them itself.
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
    """Note the names as they are. Those that are added later stay: the ``_`` of gettext may be a library's for good."""
    global _kept, _values, _of_names, _changed
    _kept = dict(_table)
    _of_names = itemgetter(*_kept)
    _values = _of_names(_kept)
    _changed = False


def note_shared() -> None:
    """Note them for a process in which several runs may go on at once; only what is missing is restored there."""
    global _shared
    if not _kept:
        _shared = True
        note()


def put_back() -> None:
    """Restore the names that were noted, if there are any."""
    global _changed
    try:
        if _of_names(_table) == _values:
            return
    except _Anything:
        # One is missing, or cannot be compared.
        _changed = True
    if _shared:
        # Another run may have replaced one for its own time.
        for name, value in _kept.items():
            if _table.get(name) is None:
                _table[name] = value
        return
    _table.update(_kept)
    _changed = True


def are_whole() -> bool:
    """Return whether nothing had to be put back since this was last acknowledged."""
    return not _changed


def acknowledge() -> None:
    """Forget that something had to be put back."""
    global _changed
    _changed = False
