"""What a person, or cron's mail, is told of a run that failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from runner.cli.terminal.run_text import failure_report
from runner.model.run import Run, State

RUN = Run(
    id="3f2a9c41-0000-4000-8000-000000000000",
    job="nightly",
    state=State.FAILURE,
    reason="exception",
    submitted_at="2026-11-23T02:00:00.000Z",
)
FRAMES = 'Traceback (most recent call last):\n  File "nightly.py", line 3, in build\n    raise ValueError(day)\n'


def report(error: dict[str, Any], log: list[str]) -> list[str]:
    return failure_report(replace(RUN, error=error), "runner status X", "runner logs X", log).splitlines()


def test_each_thing_is_said_once() -> None:
    error = {"type": "ValueError", "message": "no orders\nof that day"}
    told = report({**error, "traceback": f"{FRAMES}ValueError: no orders\nof that day\n"}, ["reading", "counting"])
    assert told == [
        "nightly: FAILURE (exception)",
        "  run    3f2a9c41-0000-4000-8000-000000000000",
        "  error  ValueError: no orders",
        "         of that day",
        "  | Traceback (most recent call last):",
        '  |   File "nightly.py", line 3, in build',
        "  |     raise ValueError(day)",
        "  log    runner logs X",
        "  > reading",
        "  > counting",
        "more: runner status X",
    ]


def test_what_a_shell_job_wrote_last_stands_in_its_error_and_no_second_time() -> None:
    error = {
        "type": "runner.tasks.shell.ShellError",
        "message": "the script ended with exit status 1; its last lines:\nreading\nno such file",
        "traceback": f"{FRAMES}runner.tasks.shell.ShellError: …",
    }
    assert report(error, ["reading", "no such file"]) == [
        "nightly: FAILURE (exception)",
        "  run    3f2a9c41-0000-4000-8000-000000000000",
        "  error  runner.tasks.shell.ShellError: the script ended with exit status 1; its last lines:",
        "         reading",
        "         no such file",
        "  log    runner logs X",
        "more: runner status X",
    ]
    assert report(error, ["more was written", "no such file"])[-3:-1] == ["  > more was written", "  > no such file"]


def test_a_run_without_a_log_names_none() -> None:
    assert not any("log" in line for line in report({"type": "ValueError", "message": "no", "traceback": None}, []))
