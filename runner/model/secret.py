"""The source of a secret (``env:NAME`` or ``file:PATH``), never its value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from runner.model.kind import INVALID, Path, Report, describe, editor_message
from runner.model.message import told

_PATTERN = r"^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00]+)$"
_FITS = re.compile(_PATTERN[:-1] + r"\Z")
_ADVICE = "write env:NAME or file:PATH, where the worker finds it; the secret itself does not belong here"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """``env:NAME`` or ``file:PATH``. A message never repeats the value: it may be the secret itself."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, told(f"expected text, got {describe(value)}", _ADVICE, "; "))
            return INVALID
        if not _FITS.match(value):
            report(path, told("is no place of a secret", _ADVICE))
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": _PATTERN, **editor_message(_ADVICE)}

    def write(self, value: Any) -> Any:
        return value


SECRET = SecretSource()


def is_secret(path: Path) -> bool:
    """Whether the value at ``path`` of a jobs file is a secret's, so that its line is not shown."""
    return "secrets" in (path[1:2] if path[:1] == ("defaults",) else path[2:3])
