"""The report about a run that failed, for a person or for cron's mail, and the line with a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.cli.terminal.run_text import block, failure_report, result_text, short_id
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
    lines = report({**error, "traceback": f"{FRAMES}ValueError: no orders\nof that day\n"}, ["reading", "counting"])
    assert lines == [
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
        "  error  the script ended with exit status 1; its last lines:",
        "         reading",
        "         no such file",
        "  log    runner logs X",
        "more: runner status X",
    ]
    assert report(error, ["more was written", "no such file"])[-3:-1] == ["  > more was written", "  > no such file"]


def test_the_frames_of_a_stock_task_are_not_shown() -> None:
    error = {"type": "runner.tasks.shell.ShellStartError", "message": "no-such: no such command", "traceback": FRAMES}
    details = dict(block(replace(RUN, error=error), utc=True))
    assert details["error"] == "no-such: no such command"
    assert "traceback" not in details
    assert "Traceback" in dict(block(replace(RUN, error={**error, "type": "ValueError"}), utc=True))["traceback"]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("Hello, world!", '"Hello, world!"'),
        ({"rows": [1, None]}, '{"rows": [1, null]}'),
        ({"exit_status": 0, "output": "one\ntwo\n", "output_truncated": False}, "exit code 0, last line: two"),
        ({"exit_status": 0, "output": "", "output_truncated": False}, "exit code 0, no output"),
    ],
)
def test_a_result_has_one_line(result: Any, text: str) -> None:
    assert result_text(result) == text


def test_only_a_uuid_has_a_short_form() -> None:
    assert short_id(RUN.id) == "3f2a9c41"
    assert short_id("order-2026-11-27") == "order-2026-11-27"


def test_a_run_without_a_log_names_none() -> None:
    assert not any("log" in line for line in report({"type": "ValueError", "message": "no", "traceback": None}, []))
