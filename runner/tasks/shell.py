"""``runner.tasks.shell:run``: a command or a shell script as a job, without Python code.

    jobs:
      disk-usage:
        task: runner.tasks.shell:run
        kwargs:
          command: [du, -sh, --, docs]

Params are passed to the command as environment variables ``PARAM_<NAME>`` (upper case; a string unchanged, any other
value as JSON). Submitted values never become part of a command line, unless ``${params.NAME}`` in the YAML makes one an
argument; :mod:`runner.params.placement` says where that is allowed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.current import current_run
from runner.errors import InvalidParams
from runner.model.duration import parse_duration
from runner.model.message import Message, advise
from runner.model.option import did_you_mean
from runner.process.oom import OomKiller, counter_file
from runner.tasks.command import Command, ExitStatusLostError
from runner.tasks.output import Output

OUTPUT_BYTES = 8192
"""The maximum size of the end of the output in the result (bytes)."""

MESSAGE_LINES = 20
MESSAGE_CHARACTERS = 2000
"""The maximum number of characters of the end of the output in an error message."""


class ShellError(Exception):
    """The command ended with an exit status other than 0, or by a signal.

    ``exit_status`` is negative for a signal, as in ``subprocess``; None if the command was not started.
    """

    def __init__(self, message: str, exit_status: int | None = None, output: str = "") -> None:
        super().__init__(message, exit_status, output)
        self.message = message
        self.exit_status = exit_status
        self.output = output

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        # A worker logs this error; the output is already in the log of the run.
        first, _, _ = self.message.partition("; its last lines:\n")
        return f"{type(self).__name__}({first!r}, {self.exit_status})"


class ShellStartError(ShellError):
    """The command or folder does not exist, or the command is not executable."""


def run(
    *,
    command: list[str] | None = None,
    script: str | None = None,
    cwd: str | None = None,
    env: Mapping[str, Any] | None = None,
    stdin: str | None = None,
    grace: str = "10s",
    **params: Any,
) -> dict[str, Any]:
    """Run a command or a script to its end.

    Standard output and standard error are one stream, which is passed on to the worker's as it arrives. The command
    runs in its own process group. When it ends, when a soft timeout or a request to terminate interrupts it, or when
    its worker vanishes, the whole group ends: SIGTERM, then SIGKILL after ``grace`` (at once if the worker vanished).

    Args:
        command: the program and its arguments, without a shell.
        script: the text of a script for ``/bin/sh -e``, which stops at the first command that fails.
        cwd: the working folder, relative to the project; the project by default.
        env: environment variables in addition to those of the worker and the job's ``env``.
        stdin: the text on standard input; empty by default.
        grace: the time between SIGTERM and SIGKILL, such as ``10s``.
        params: the submitted params; ``PARAM_<NAME>`` in the environment.

    The environment of the command also has ``RUN_ID``, ``RUN_JOB``, and ``RUN_ATTEMPT``.

    Returns:
        ``{"exit_status": 0, "output": the last 8 KiB, "output_truncated": whether the output was longer}``.

    Raises:
        ShellError: the exit status is not 0, or a signal ended the command.
        ShellStartError: the command or folder does not exist, or the command is not executable.
        InvalidParams: a param has the name of one of the options above.
        ValueError: an option is invalid.
    """
    refuse_reserved(params, RESERVED)
    argv, title = _argv(command, script)
    return perform(argv, title, cwd=cwd, env=env, stdin=stdin, grace=grace, params=params)


def perform(
    argv: list[str],
    title: str,
    *,
    cwd: str | None,
    env: Mapping[str, Any] | None,
    stdin: str | None,
    grace: str,
    params: Mapping[str, Any],
) -> dict[str, Any]:
    """Run a program to its end, like :func:`run`; ``title`` is its name in messages."""
    folder = _folder(cwd)
    output = Output(OUTPUT_BYTES)
    try:
        prepared = Command(
            argv,
            cwd=str(folder),
            env=_environment(env or {}, params),
            stdin=stdin,
            grace=seconds(grace),
            output=output,
        )
        killer = OomKiller(counter_file())
        status = prepared.run()
    except OSError as error:
        raise _not_started(error, argv[0], folder) from error
    except ExitStatusLostError as error:
        raise ShellError(f"{title}: {error}", None, output.tail()) from error
    if status != 0:
        for_memory = status in (-signal.SIGKILL, 128 + signal.SIGKILL) and killer.blame()
        message = _failure(title, status, current_run().mask(output.tail()), for_memory=for_memory)
        raise ShellError(message, status, output.tail())
    return {"exit_status": 0, "output": output.tail(), "output_truncated": output.truncated}


RESERVED = frozenset({"command", "script", "cwd", "env", "stdin", "grace"})
run.example = {"command": ["echo", "hello"]}  # type: ignore[attr-defined]  # what `runner new` writes
run.reserved = RESERVED  # type: ignore[attr-defined]  # names that no param of a job with this task may have


def check_kwargs(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in a job's fixed options: the option's name (or an empty text) and a message."""
    command = kwargs.get("command")
    if isinstance(command, str) and "${" not in command:
        yield "command", _as_list(command)
    elif isinstance(command, list | None):
        try:
            _argv(command, kwargs.get("script"))
        except _NoText as error:
            yield "command", error.message
        except ValueError as error:
            yield ("command" if "command" in kwargs else ""), str(error)
    yield from check_grace(kwargs)


def check_grace(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in ``grace`` that can be found before a run."""
    grace = kwargs.get("grace", "0s")
    try:
        if isinstance(grace, str) and "${" not in grace:
            seconds(grace)
    except ValueError as error:
        yield "grace", str(error)


run.check_kwargs = check_kwargs  # type: ignore[attr-defined]  # what `runner validate` asks


def refuse_reserved(params: Mapping[str, Any], reserved: frozenset[str]) -> None:
    """Reject submitted params that have the name of an option: otherwise they would look like options from the YAML.

    Raises:
        InvalidParams: a param has the name of an option, or two params share a variable.
        ValueError: a keyword argument is neither a param nor an option.
    """
    current = current_run()
    # A step is called with its kwargs only: none of them is a param.
    passed = set() if current.job is not None and "/" in current.job else {*current.params}
    given = sorted(reserved & passed)
    if given:
        raise InvalidParams(
            f"{', '.join(given)}: not a param of such a job, since it would replace what its YAML fixes",
            hint="declare the param under another name; the command finds it in PARAM_<NAME>",
        )
    unknown = sorted({*params} - passed) if current.id is not None else []
    if unknown:
        # A misspelled option would count as a param, and have no effect.
        raise ValueError(f"kwargs.{unknown[0]}: unknown option{did_you_mean(unknown[0], reserved)}")
    seen: dict[str, str] = {}
    for name in params:
        twin = seen.setdefault(name.upper(), name)
        if twin != name:
            raise InvalidParams(
                f"{twin} and {name} would both be PARAM_{name.upper()}", hint="rename one of the two params"
            )


class _NoText(ValueError):
    """An argument is not a string."""

    def __init__(self, message: str) -> None:
        super().__init__(f"command: {message}")
        self.message = message


_SHELL_SYNTAX = re.compile(r"[|&;<>()$`*?~#\n]")
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null"})
_PLAIN_WORD = re.compile(r"[A-Za-z/.][\w/.+=@-]*")


def _as_list(command: str) -> Message:
    """Return the message for a command that is written as a single text."""
    what = "is text, not a list of arguments"
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words or _SHELL_SYNTAX.search(command):
        return advise(what, "use script for a text that a shell reads")
    plain = (_PLAIN_WORD.fullmatch(word) is not None and word.lower() not in _NOT_TEXT for word in words)
    written = ", ".join(word if is_plain else json.dumps(word) for word, is_plain in zip(words, plain, strict=True))
    return advise(what, f"write [{written}], or use script", replacement=f"[{written}]")


def _argv(command: object, script: object) -> tuple[list[str], str]:
    """Return the argument list, and its name in messages."""
    if (command is None) == (script is None):
        raise ValueError("give either command (a list of arguments) or script (text for /bin/sh)")
    if script is not None:
        if not isinstance(script, str):
            raise ValueError("script is text for /bin/sh")
        return ["/bin/sh", "-e", "-c", script, "script"], "the script"
    if isinstance(command, str):
        raise ValueError(f"command is a list of arguments, write [{command.replace(' ', ', ')}], or use script")
    if not isinstance(command, list) or not command:
        raise ValueError("command is a list of arguments, such as [ls, -l]")
    argv = []
    for argument in command:
        if isinstance(argument, bool) or not isinstance(argument, str | int):
            raise _NoText(f"{json.dumps(argument, default=str)} is not text, put it in quotes")
        argv.append(str(argument))
    return argv, argv[0]


def _folder(cwd: str | None) -> Path:
    """Return the working folder; relative ones start at the project."""
    folder = Path(os.environ.get("RUNNER_PROJECT") or Path.cwd(), cwd or "")
    if not folder.is_dir():
        raise ShellStartError(f"cwd: there is no folder {folder}")
    return folder


def _environment(env: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of the command. Variables from the YAML take precedence over submitted params."""
    current = current_run()
    environment = dict(os.environ)
    for name, value in params.items():
        environment[f"PARAM_{name.upper()}"] = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        )
    if current.id is not None:
        environment |= {"RUN_ID": current.id, "RUN_JOB": current.job or "", "RUN_ATTEMPT": str(current.attempt)}
    for name, value in env.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(f"env.{name}: {json.dumps(value, default=str)} is not text, put it in quotes")
        environment[name] = str(value)
    for name, value in environment.items():
        if "\0" in value:
            raise ValueError(f"{name}: an environment variable cannot hold a NUL character")
    return environment


def seconds(grace: object) -> float:
    """Return the duration ``grace`` in seconds.

    Raises:
        ValueError: it is not a duration.
    """
    if not isinstance(grace, str):
        raise ValueError(f"grace: {grace} has no unit, write {grace}s")
    return parse_duration(grace)


def _not_started(error: OSError, program: str, folder: Path) -> ShellStartError:
    if error.filename == str(folder):
        return ShellStartError(f"cwd: {folder} may not be entered by this user")
    if isinstance(error, FileNotFoundError):
        if "/" in program and (folder / program).exists():
            return ShellStartError(f"{program}: its first line names an interpreter that is not there")
        where = f" in {folder}" if "/" in program and not program.startswith("/") else ""
        found = "" if "/" in program else " on PATH"
        return ShellStartError(f"{program}: no such command{where}{found}")
    if isinstance(error, PermissionError):
        return ShellStartError(f"{program}: may not be run by this user; is it executable (chmod +x)?")
    if error.errno == errno.ENOEXEC:
        return ShellStartError(f"{program}: not a program; a script needs a first line such as #!/bin/sh")
    if error.errno == errno.E2BIG:
        return ShellStartError(f"{program}: arguments and environment are larger than the system allows")
    return ShellStartError(f"{program}: {error.strerror or error}")


def _failure(title: str, status: int, output: str, *, for_memory: bool = False) -> str:
    if status < 0:
        ending = f"{title} was ended by {_signal_name(-status)}"
    else:
        ending = f"{title} ended with exit status {status}"
        if status > 128 and (name := _signal_name(status - 128)).startswith("SIG"):
            ending += f", which shells give for {name}"
    ending += ", sent by the kernel's OOM killer" if for_memory else ""
    lines = output.rstrip().splitlines()[-MESSAGE_LINES:]
    if not lines:
        return f"{ending}, and wrote nothing"
    text = "\n".join(lines)
    if len(text) > MESSAGE_CHARACTERS:
        text = "…" + text[-MESSAGE_CHARACTERS:]
    return f"{ending}; its last lines:\n{text}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
