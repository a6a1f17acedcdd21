"""Add ``--project`` to the commands in hints, so that they work from any folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from runner.cli.commands import COMMANDS

_ANYWHERE = {"init", "completion", "schema"}
_COMMAND = re.compile(rf"\brunner (?=(?:{'|'.join(sorted(set(COMMANDS) - _ANYWHERE))})\b)")


class _Opened:
    project: Path | None = None


def remember(project: Path) -> None:
    """Note the project that the command of this process works on."""
    _Opened.project = project


def with_project(hint: str) -> str:
    """Return a hint whose commands name the project, if one is open. More text may follow the command in a hint."""
    if _Opened.project is None or "--project" in hint:
        return hint
    return _COMMAND.sub(lambda match: f"{match[0]}--project {shlex.quote(str(_Opened.project))} ", hint)
