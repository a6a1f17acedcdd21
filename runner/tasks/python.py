"""``runner.tasks.python:script``: a Python file as a job, in its own interpreter.

    jobs:
      clean-up:
        task: runner.tasks.python:script
        kwargs:
          file: scripts/clean_up.py
          args: [--older-than, 30d]
          venv: .venv-scripts

The script's imports and process changes do not affect the worker. Params are passed as environment variables
``PARAM_<NAME>``, like those of a command of ``runner.tasks.shell:run``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.tasks.shell import ShellStartError, check_grace, perform, refuse_reserved

RESERVED = frozenset({"file", "args", "venv", "cwd", "env", "stdin", "grace"})


def script(
    *,
    file: str,
    args: list[str] | None = None,
    venv: str | None = None,
    cwd: str | None = None,
    env: Mapping[str, Any] | None = None,
    stdin: str | None = None,
    grace: str = "10s",
    **params: Any,
) -> dict[str, Any]:
    """Run a Python file to its end, in its own process group.

    Args:
        file: the file, relative to the project.
        args: its arguments.
        venv: the folder of a virtual environment, relative to the project; by default the worker's interpreter.
        cwd: the working folder, relative to the project; the project by default.
        env: environment variables in addition to those of the worker and the job's ``env``.
        stdin: the text on standard input; empty by default.
        grace: the time between SIGTERM and SIGKILL, such as ``10s``.
        params: the submitted params; ``PARAM_<NAME>`` in the environment.

    Returns:
        ``{"exit_status": 0, "output": the last 8 KiB, "output_truncated": whether the output was longer}``.

    Raises:
        ShellError: the exit status is not 0, or a signal ended the script.
        ShellStartError: the file, folder, or virtual environment does not exist.
        InvalidParams: a param has the name of one of the options above.
        ValueError: an option is invalid.
    """
    refuse_reserved(params, RESERVED)
    for message in _wrong(args):
        raise ValueError(f"args: {message}")
    path = _in_project(file)
    if not path.is_file():
        raise ShellStartError(f"file: there is no file {path}")
    # Unbuffered, so that no output is lost when the script is killed.
    argv = [_interpreter(venv), "-u", str(path), *map(str, args or ())]
    return perform(argv, file, cwd=cwd, env=env, stdin=stdin, grace=grace, params=params)


script.example = {"file": "scripts/example.py"}  # type: ignore[attr-defined]  # what `runner new` writes
script.reserved = RESERVED  # type: ignore[attr-defined]  # names that no param of a job with this task may have


def check_kwargs(kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the faults in a job's fixed options: the option's name and a message."""
    for message in _wrong(kwargs.get("args")):
        yield "args", message
    yield from check_grace(kwargs)


script.check_kwargs = check_kwargs  # type: ignore[attr-defined]  # what `runner validate` asks


def _wrong(args: object) -> Iterator[str]:
    if not isinstance(args, list):
        return
    for argument in args:
        if isinstance(argument, bool) or not isinstance(argument, str | int | float):
            yield f"{argument!r} is not text, put it in quotes"


def _in_project(name: str) -> Path:
    return Path(os.environ.get("RUNNER_PROJECT") or Path.cwd(), name)


def _interpreter(venv: str | None) -> str:
    if venv is None:
        return sys.executable
    # Not resolved: Python finds its virtual environment through this link.
    path = _in_project(venv) / "bin" / "python"
    if not path.exists():
        raise ShellStartError(f"venv: there is no interpreter {path}; make one: python3 -m venv {_in_project(venv)}")
    return str(path)
