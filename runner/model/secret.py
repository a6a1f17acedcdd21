"""The source of a secret: ``env:NAME``, ``file:PATH``, or ``exec:COMMAND``. The secret itself is never stored."""

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
    """``env:NAME``, ``file:PATH``, or, with ``commands``, ``exec:COMMAND``.

    Messages never contain the value, because it may be the secret itself.
    """

    commands: bool = True
    reader: str = "the worker"

    @property
    def forms(self) -> str:
        """The accepted forms, for a sentence."""
        return "env:NAME, file:PATH, or exec:COMMAND" if self.commands else "env:NAME or file:PATH"

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected text, got {describe(value)}", self._advice))
            return INVALID
        if not re.fullmatch(self._pattern, value):
            report(path, advise("is not the source of a secret", self._advice))
            return INVALID
        if value.startswith("exec:"):
            try:
                shlex.split(value[5:])
            except ValueError:
                report(path, advise("a quote is not closed", "quote arguments as for a shell"))
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
        return f"write {self.forms}, where {self.reader} finds the secret; do not write the secret itself here"


SECRET = SecretSource()


def is_secret(path: Path) -> bool:
    """Return whether the value at ``path`` of a jobs file may be a secret, so that its line is not shown."""
    option = path[1:] if path[:1] == ("defaults",) else path[2:]
    return "secrets" in option[:1] or option[:2] == ("webhook", "secret")
