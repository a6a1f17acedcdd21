"""Read and check JSON by RFC 8259: no NaN, no duplicate names in an object, and no half surrogate pairs."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_NESTED = 64
"""How deep lists and mappings may be nested; many programs fail to read deeper values."""


LARGEST = 2**63 - 1
"""The largest accepted integer, as in YAML; the smallest is its negative."""


def fault_of(value: Any) -> str | None:
    """Return the reason why ``value`` has no JSON that all programs read alike, or None."""
    if value is None or isinstance(value, bool | str) or (type(value) is int and abs(value) <= LARGEST):
        return None
    if is_too_deep(value):
        return f"is nested more than {MOST_NESTED} levels deep, nest it less"
    level = [value]
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, float) and not math.isfinite(item):
                return f"has {item}, which is not a number in JSON"
            if isinstance(item, int) and abs(item) > LARGEST:
                return "has a number that does not fit into 64 bits, give it as text if it is an account number"
            if isinstance(item, dict):
                for key in item:
                    if not isinstance(key, str):
                        return f"has the key {key!r}, but in JSON every key is text"
                below += item.values()
            elif isinstance(item, list | tuple):
                below += item
        level = below
    return None


def is_too_deep(value: Any) -> bool:
    """Return whether lists and mappings are nested deeper than :data:`MOST_NESTED`."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [item for item in level if isinstance(item, list | tuple | dict)]
        if not level:
            return False
        level = [part for item in level for part in (item.values() if isinstance(item, dict) else item)]
    return True


def read_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; bytes are in UTF-8, UTF-16, or UTF-32.

    Raises:
        ValueError: it is not valid JSON.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        # An escape may produce half of a surrogate pair, which could not be encoded again.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        if is_too_deep(value):
            raise RecursionError
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except UnicodeEncodeError:
        raise ValueError("it has half of a surrogate pair") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_NESTED} levels deep") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # the message of Python is for programmers
            raise ValueError("it has a number with thousands of digits, give it as text") from None
        raise
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} is given twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")
