"""Reads ``--params``: JSON, a file or stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from runner.errors import InvalidParams

_FORMS = "write a JSON object, @FILE, or - for stdin"


def read_document(text: str | None) -> dict[str, Any]:
    """Return the params of ``--params``; none without it.

    Raises:
        InvalidParams: it cannot be read, or is no JSON object.
    """
    if text is None:
        return {}
    source, written = _fetch(text)
    try:
        value = json.loads(written, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidParams(f"{source} is not JSON: {what}", hint=_FORMS) from None
    if not isinstance(value, dict):
        raise InvalidParams(f"{source} is not a JSON object", hint=_FORMS)
    return value


def _fetch(text: str) -> tuple[str, str]:
    try:
        if text == "-":
            return "stdin", sys.stdin.buffer.read().decode("utf-8-sig")
        if text.startswith("@"):
            return text[1:], Path(text[1:]).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidParams(f"{text} cannot be read: {error.strerror}", hint=_FORMS) from None
    except UnicodeDecodeError:
        raise InvalidParams(f"{text} is not UTF-8", hint="save it in UTF-8") from None
    return "--params", text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
