"""Report errors of the user, and bugs; each has its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from runner._version import __version__
from runner.cli.terminal.hints import with_project
from runner.errors import RunnerError
from runner.model.printable import printable

BUG = 70
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL

PRECEDENCE = (BUG, 69, 2, 4, 1, 5, 3, 124)
"""For several ids, the exit code is the first of these that one of them has."""


class OutputLost(RunnerError):
    """The output could not be written to stdout."""

    code = "output"


def worst(codes: Iterable[int]) -> int:
    """Return the exit code for several runs."""
    found = set(codes)
    return next((code for code in PRECEDENCE if code in found), 0)


def report_click(error: click.ClickException, *, as_json: bool) -> int:
    """Report an error in the command line; without arguments, show the help."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return error.exit_code
    from runner.cli.terminal.usage import usage_error  # start-up time: most command lines are right

    return report_error(usage_error(error), as_json=as_json)


def report_error(error: RunnerError, *, as_json: bool) -> int:
    """Report an error that the user can fix."""
    if as_json and not isinstance(error, OutputLost):
        write(sys.stdout, json.dumps(error_document(error)) + "\n")
    else:
        write(sys.stderr, describe(error))
    return error.exit_code


def error_document(error: RunnerError) -> dict[str, object]:
    """Return the JSON object for an error. Commands in its hint work from any folder."""
    document = error.as_dict()
    document["error"]["hint"] = error.hint and with_project(error.hint)  # type: ignore[index]
    return document


def describe(error: RunnerError) -> str:
    """Return an error as text: its message, and its hint if there is one."""
    return printable(f"error: {error.message}\n" + (f"hint: {with_project(error.hint)}\n" if error.hint else ""))


def report_bug(error: BaseException, arguments: Sequence[str], *, as_json: bool) -> int:
    """Write the traceback to a log file, and report the bug with the name of that file."""
    log = _keep(error, arguments)
    where = f"the traceback is in {log}" if log else "the traceback could not be written to a file"
    bug = RunnerError(f"this is a bug in the runner: {type(error).__name__}: {_one_line(error)}", hint=where)
    return report_error(bug, as_json=as_json)


def _one_line(error: BaseException) -> str:
    lines = _masked(str(error)).splitlines()
    return lines[0][:500] if lines else ""


def _masked(text: str) -> str:
    from runner.settings.redis_url import mask  # start-up time: bugs are rare

    return mask(text)


def _keep(error: BaseException, arguments: Sequence[str]) -> Path | None:
    head = f"runner {__version__}, Python {sys.version.split()[0]} on {sys.platform}\ncommand: {list(arguments)!r}\n\n"
    import traceback  # start-up time: bugs are rare

    text = _masked(head + "".join(traceback.format_exception(error)))
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    # The last resort is a folder that everybody may write to. A link that somebody put there is not followed.
    for keep in (_keep_in_project, _keep_in_temporary_folder):
        with contextlib.suppress(Exception):  # the bug may be in there
            return keep(name, text, arguments)
    return None


def _keep_in_project(name: str, text: str, arguments: Sequence[str]) -> Path:
    from runner.host.state import state_folder  # start-up time: bugs are rare
    from runner.settings import load_settings

    with state_folder(load_settings(_project_of(arguments)).state_dir) as state, state.folder("log") as logs:
        _write_log(logs.open(name, _NEW), text)
        return logs.path / name


def _keep_in_temporary_folder(name: str, text: str, _words: Sequence[str]) -> Path:
    import tempfile  # start-up time: bugs are rare

    path = Path(tempfile.gettempdir()) / name
    _write_log(os.open(path, _NEW | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), text)
    return path


def _write_log(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


def _project_of(arguments: Sequence[str]) -> str | None:
    for index, argument in enumerate(arguments):
        if argument == "--project" and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith("--project="):
            return argument.partition("=")[2]
    return None


def write(stream: Any, text: str) -> None:
    """Write and flush. If nobody reads a pipe any more, this and all later output to it is discarded.

    Raises:
        OutputLost: stdout cannot be written. Text that stderr does not take is discarded, because a full disk
            under a log must not end the wait for a run.
    """
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if stream is not sys.stderr:
            raise OutputLost(f"the output cannot be written: {error.strerror}", hint="is the disk full?") from error
