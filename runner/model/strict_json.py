"""JSON as RFC 8259 has it: no NaN, no name twice in an object, no half of a surrogate pair."""

from __future__ import annotations

import json
import math
from typing import Any

MOST_NESTED = 64
"""Lists and mappings within each other that are taken: what is deeper, programs that read it cannot be trusted with."""


LARGEST = 2**63 - 1
"""The largest integer that is taken, as in YAML; the smallest is its negative."""


def fault_of(value: Any) -> str | None:
    """Return the reason why ``value`` has no JSON that every program reads in the same way, or None."""
    if value is None or isinstance(value, bool | str) or (type(value) is int and abs(value) <= LARGEST):
        return None
    if is_too_deep(value):
        return f"is nested more than {MOST_NESTED} deep, make it flatter"
    level = [value]
    while level:
        below: list[Any] = []
        for each in level:
            if isinstance(each, float) and not math.isfinite(each):
                return f"holds {each}, which is not a number that JSON can hold"
            if isinstance(each, int) and abs(each) > LARGEST:
                return "holds a number that does not fit into 64 bits, give it as text if it is an account number"
            if isinstance(each, dict):
                for key in each:
                    if not isinstance(key, str):
                        return f"has the key {key!r}, and in JSON every key is text"
                below += each.values()
            elif isinstance(each, list | tuple):
                below += each
        level = below
    return None


def is_too_deep(value: Any) -> bool:
    """Whether lists and mappings are nested deeper than :data:`MOST_NESTED`."""
    level = [value]
    for _ in range(MOST_NESTED + 1):
        level = [each for each in level if isinstance(each, list | tuple | dict)]
        if not level:
            return False
        level = [part for each in level for part in (each.values() if isinstance(each, dict) else each)]
    return True


def read_json(text: str | bytes) -> Any:
    """Return the value that ``text`` says; bytes are UTF-8, or what else JSON may be in.

    Raises:
        ValueError: it is no JSON, or says something that JSON has no way to say; the message tells what.
    """
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        # Only an escape can smuggle half a pair in; it could not be written down again.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        if is_too_deep(value):
            raise RecursionError
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair") from None
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_NESTED} deep") from None
    except ValueError as error:
        if "set_int_max_str_digits" in str(error):  # advice to programmers of Python
            raise ValueError("it holds a number of thousands of digits, give it as text") from None
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
