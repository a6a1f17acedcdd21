"""Tell faults with a remedy, interrupts, and bugs apart. Each has its exit code."""

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
"""Of several ids' exit codes, the first of these that applies."""


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
    """Report a fault that the user can do something about."""
    if as_json and not isinstance(error, OutputLost):
        write(sys.stdout, json.dumps(error_document(error)) + "\n")
    else:
        write(sys.stderr, describe(error))
    return error.exit_code


def error_document(error: RunnerError) -> dict[str, object]:
    """Return the JSON object that stands for an error; its hint can be pasted in any folder."""
    document = error.as_dict()
    document["error"]["hint"] = error.hint and with_project(error.hint)  # type: ignore[index]
    return document


def describe(error: RunnerError) -> str:
    """Return the lines that a person reads."""
    return printable(f"error: {error.message}\n" + (f"hint: {with_project(error.hint)}\n" if error.hint else ""))


def report_bug(error: BaseException, words: Sequence[str], *, as_json: bool) -> int:
    """Keep the traceback in a log file and name that file."""
    log = _keep(error, words)
    where = f"the traceback is in {log}" if log else "the traceback could not be kept"
    bug = RunnerError(f"this is a bug in the runner: {type(error).__name__}: {_one_line(error)}", hint=where)
    return report_error(bug, as_json=as_json)


def _one_line(error: BaseException) -> str:
    lines = _masked(str(error)).splitlines()
    return lines[0][:500] if lines else ""


def _masked(text: str) -> str:
    from runner.settings.redis_url import mask  # start-up time: bugs are rare

    return mask(text)


def _keep(error: BaseException, words: Sequence[str]) -> Path | None:
    head = f"runner {__version__}, Python {sys.version.split()[0]} on {sys.platform}\ncommand: {list(words)!r}\n\n"
    import traceback  # start-up time: bugs are rare

    text = _masked(head + "".join(traceback.format_exception(error)))
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    # The last resort is a folder that all may write to: nothing goes through a link that somebody put there.
    for keep in (_keep_in_project, _keep_in_temporary_folder):
        with contextlib.suppress(Exception):  # the bug may lie there
            return keep(name, text, words)
    return None


def _keep_in_project(name: str, text: str, words: Sequence[str]) -> Path:
    from runner.host.state import state_folder  # start-up time: bugs are rare
    from runner.settings import load_settings

    with state_folder(load_settings(_project_of(words)).state_dir) as state, state.folder("log") as logs:
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


def _project_of(words: Sequence[str]) -> str | None:
    for index, word in enumerate(words):
        if word == "--project" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--project="):
            return word.partition("=")[2]
    return None


def write(stream: Any, text: str) -> None:
    """Write and flush; a pipe that nobody reads any more is silent, and what follows goes nowhere.

    Raises:
        OutputLost: stdout takes no more. Words that stderr does not take are lost in silence: there is no place left to
            say so, and a full disk under a log must not end the wait for a run.
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
