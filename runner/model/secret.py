"""The source of a secret (``env:NAME``, ``file:PATH``, or ``exec:COMMAND``), never its value."""

from __future__ import annotations

import re
import shlex
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import advise
from runner.model.value_type import INVALID, Path, Report, describe, editor_message

_PLACES = r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00]+"
_COMMAND = r"exec:[^\x00\r\n]*[^\x00\s][^\x00\r\n]*"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """``env:NAME``, ``file:PATH``, or with ``commands`` also ``exec:COMMAND``.

    A message never repeats the value: it may be the secret itself.
    """

    commands: bool = True
    reader: str = "the worker"

    @property
    def places(self) -> str:
        """The forms that are accepted, for a sentence."""
        return "env:NAME, file:PATH, or exec:COMMAND" if self.commands else "env:NAME or file:PATH"

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected text, got {describe(value)}", self._advice, "; "))
            return INVALID
        if not re.fullmatch(self._pattern, value):
            report(path, advise("is not a source of a secret", self._advice))
            return INVALID
        if value.startswith("exec:"):
            try:
                shlex.split(value[5:])
            except ValueError:
                report(path, advise("a quote is not closed", "quote arguments as a shell takes them"))
                return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self._pattern})$", **editor_message(self._advice)}

    def write(self, value: Any) -> Any:
        return value

    @property
    def _pattern(self) -> str:
        return f"{_PLACES}|{_COMMAND}" if self.commands else _PLACES

    @property
    def _advice(self) -> str:
        return f"write {self.places}, where {self.reader} finds it; the secret itself does not belong here"


SECRET = SecretSource()


def is_secret(path: Path) -> bool:
    """Whether the value at ``path`` of a jobs file is a secret's, so that its line is not shown."""
    option = path[1:] if path[:1] == ("defaults",) else path[2:]
    return "secrets" in option[:1] or option[:2] == ("webhook", "secret")
