"""What went wrong, told apart: a fault with a remedy, an interrupt, a bug. Each has its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from runner.cli.frame.hints import with_project
from runner.errors import RunnerError, UsageError

BUG = 70

PRECEDENCE = (BUG, 69, 2, 4, 1, 5, 3, 124)
"""Of several ids' exit codes, the first of these that applies."""


class OutputLost(RunnerError):
    """What stdout was to carry could not be written."""

    code = "output"


def worst(codes: Iterable[int]) -> int:
    """Return the exit code for several runs."""
    found = set(codes)
    return next((code for code in PRECEDENCE if code in found), 0)


def report_click(error: click.ClickException, *, as_json: bool) -> int:
    """Report wrong usage as click found it."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return error.exit_code
    ctx = getattr(error, "ctx", None)
    hint = f"{ctx.command_path} --help" if ctx is not None else None
    message = error.format_message()
    return report_error(UsageError(message[:1].lower() + message[1:], hint=hint), as_json=as_json)


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
    return f"error: {error.message}\n" + (f"hint: {with_project(error.hint)}\n" if error.hint else "")


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
    from runner.settings.redis_url import mask  # a floor below; kept out of start-up, as bugs are rare

    return mask(text)


def _keep(error: BaseException, words: Sequence[str]) -> Path | None:
    head = f"runner {_version()}, Python {sys.version.split()[0]} on {sys.platform}\ncommand: {list(words)!r}\n\n"
    text = _masked(head + "".join(traceback.format_exception(error)))
    name = f"bug-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for folder in _log_folders(words):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Never through a link that somebody put there: the last resort is a folder that all may write to.
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123
                file.write(text)
            return folder / name
        except OSError:
            continue
    return None


def _version() -> str:
    from runner._version import __version__  # only a bug's log names it

    return __version__


def _log_folders(words: Sequence[str]) -> list[Path]:
    from runner.settings import load_settings  # kept out of start-up, as bugs are rare

    folders = [Path(tempfile.gettempdir())]
    with contextlib.suppress(Exception):  # the bug may lie there
        folders.insert(0, load_settings(_project_of(words)).state_dir / "log")
    return folders


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
