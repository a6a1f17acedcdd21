"""A command that follows something ends when nobody reads its output; one that waits for an outcome does not."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.project import COMMAND, Project, clean_environment

SECONDS = 60.0


@contextmanager
def piped(project: Project, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command whose stdout the test reads, and may stop reading."""
    process = subprocess.Popen(
        [*COMMAND, *args],
        cwd=project.path,
        env=clean_environment(project.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("args", [["watch", "--from", "0"], ["logs", "-f"], ["runs", "-w"]])
def test_a_follower_ends_with_its_reader_while_nothing_happens(served: Project, args: list[str]) -> None:
    if args[0] == "logs":
        run_id = served.submit("sleeps")
        served.wait_for_state(run_id, "STARTED")
        args = [*args, run_id]
    else:
        served.submit("unserved")
    with piped(served, *args) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()  # it follows now
        process.stdout.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == b""
    if args[0] == "logs":
        assert served.document(args[-1])["state"] == "STARTED"
        served.cli("revoke", args[-1], "--terminate").check()


def test_a_wait_goes_on_without_a_reader(served: Project) -> None:
    with piped(served, "submit", "fails", "--wait") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(SECONDS) == 1
