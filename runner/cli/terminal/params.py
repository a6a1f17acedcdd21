"""Read ``--params``: JSON, a file, or stdin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, Any

from runner.errors import InvalidParams
from runner.model.strict_json import read_json

_LARGEST = 64 * 1024**2
"""The largest value of ``limits.params``, in bytes."""

_FORMS = "write a JSON object, @FILE, or - for stdin"


def read_document(text: str | None) -> dict[str, Any]:
    """Return the params of ``--params``; an empty dictionary without it.

    Raises:
        InvalidParams: it cannot be read, or is not a JSON object.
    """
    if text is None:
        return {}
    source, written = _fetch(text)
    try:
        value = read_json(written)
    except ValueError as error:
        raise InvalidParams(f"{source} is not JSON: {error}", hint=_FORMS) from None
    if not isinstance(value, dict):
        raise InvalidParams(f"{source} is not a JSON object", hint=_FORMS)
    return value


def _fetch(text: str) -> tuple[str, str]:
    try:
        if text == "-":
            return "stdin", _read(sys.stdin.buffer, "stdin").decode("utf-8-sig")
        if text.startswith("@"):
            # It may be a pipe: a shell replaces @<(command) by one.
            with Path(text[1:]).open("rb") as file:
                return text[1:], _read(file, text[1:]).decode("utf-8-sig")
    except OSError as error:
        raise InvalidParams(f"{text} cannot be read: {error.strerror}", hint=_FORMS) from None
    except UnicodeDecodeError:
        raise InvalidParams(f"{text} is not UTF-8", hint="save it in UTF-8") from None
    return "--params", text


def _read(file: IO[bytes], name: str) -> bytes:
    data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise InvalidParams(
            f"{name} has more than {_LARGEST // 1024**2} MiB", hint="params are small: see limits.params"
        )
    return data
