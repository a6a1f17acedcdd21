"""The ``watch:`` section of a job: files that each start a run."""

from __future__ import annotations

from collections.abc import Mapping

from runner._dataclass import dataclass
from runner.model.message import advise
from runner.model.option import Duration, Text, option
from runner.model.param import Param
from runner.model.value_type import Path, Report

PARAM = "path"
"""The param that holds the path of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The files that each start a run. Durations are seconds."""

    path: str = option(
        Text(pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/]$", advice="write the path of files, such as inbox/*.csv"),
        help="The files, relative to the project: * and ? match parts of a name, ** matches any number of folders. "
        "They do not match a dot at the beginning of a name.",
        examples=("inbox/*.csv", "/srv/upload/**/*.xml"),
    )
    settle: float = option(
        Duration(0.1),
        default=5.0,
        help="How long a file must be unchanged before its run starts.",
        examples=("30s",),
    )


WATCH_ALIASES = {
    "paths": "path",
    "file": "path",
    "files": "path",
    "glob": "path",
    "pattern": "path",
    "filepath": "path",
    "delay": "settle",
    "debounce": "settle",
    "stable_for": "settle",
    "interval": "settle",
}


def check_watch(watch: Watch, params: Mapping[str, Param], path: Path, report: Report) -> bool:
    """Report the params for which no run could start from a file; return whether there are none."""
    if "${" in watch.path:
        report((*path, "path"), advise("placeholders are not supported here", "write the path itself"))
        return False
    param = params.get(PARAM)
    if param is None:
        report(path, advise(f"sets the param {PARAM}, which the job does not declare", _DECLARE), on_key=True)
        return False
    sound = True
    if param.types and "string" not in param.types:
        report(path, advise(f"sets the param {PARAM} to text, which its type does not allow", _DECLARE), on_key=True)
        sound = False
    for name, other in params.items():
        if name != PARAM and other.required:
            report(path, advise(f"does not set {name}, which is required", f"give {name} a default"), on_key=True)
            sound = False
    return sound


_DECLARE = f"write params: {{{PARAM}: {{type: string, required: true}}}}"
