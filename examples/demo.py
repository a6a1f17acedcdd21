"""Shows the runner at work in this repository: ``make demo``.

It types the commands that a person would type. It exits with 1 if a command does not do what it should, or if a
process is left behind.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from examples import PROJECT

MARKER = "DEMO_OF_RUNNER"
PATIENCE = 60.0
"""Seconds that each step may take."""


class DemoError(Exception):
    """A command did not do what it should."""


class Command:
    """A ``runner`` command that runs in the background. Its output is printed line by line as it arrives."""

    def __init__(self, *words: str, show: bool = True) -> None:
        self.words = words
        self._show = show
        self._lines: list[str] = []
        self._news = threading.Condition()
        say(f"$ runner {' '.join(words)}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runner", *words],
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._lines.append(line.rstrip("\n"))
                self._news.notify_all()
            if self._show:
                say(f"  {line.rstrip()}")
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern: str) -> str:
        """Return the first line that matches."""
        end = time.monotonic() + PATIENCE
        seen = 0
        with self._news:
            while True:
                for line in self._lines[seen:]:
                    if re.search(pattern, line):
                        return line
                seen = len(self._lines)
                if time.monotonic() > end or not self._reader.is_alive():
                    output = "\n".join(self._lines)
                    raise DemoError(f"runner {' '.join(self.words)} did not say {pattern!r}:\n{output}")
                self._news.wait(0.5)

    def end(self, exit_code: int) -> list[str]:
        """Wait for the command to end, and return its output lines. DemoError: it has another exit code."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise DemoError(f"runner {' '.join(self.words)} does not end") from None
        self._reader.join(5.0)
        if code != exit_code:
            output = "\n".join(self._lines)
            raise DemoError(f"runner {' '.join(self.words)} ended with {code}, not {exit_code}:\n{output}")
        if self._show:
            say(f"  (exit code {code})")
        return self._lines

    def stop(self) -> None:
        """Stop the command if it is still running, for cleaning up."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def say(text: str = "") -> None:
    """Print a line at once, so that people can watch what happens."""
    print(text, flush=True)  # noqa: T201


def title(text: str) -> None:
    """Print a heading."""
    say(f"\n── {text}")


def runner(*words: str, exit_code: int = 0) -> list[str]:
    """Run a command to its end, and return its output lines."""
    return Command(*words).end(exit_code)


@contextmanager
def worker() -> Iterator[Command]:
    """Run a worker for the ``with`` block, which begins when the worker is ready."""
    started = Command("worker", "-c", "2", show=False)
    try:
        started.wait_for("runner worker ready")
        say("  the worker is ready")
        yield started
    finally:
        started.stop()


def show() -> None:
    """Run the examples."""
    title("A run waits in the ledger until a worker takes it")
    run_id = run_id_of(runner("submit", "repo-report"))
    follower = Command("wait", run_id)
    follower.wait_for("^PENDING")
    with worker():
        follower.wait_for("^SUCCESS")
        follower.end(0)
        say(f"  {report(run_id)}")

        title("A run that fails twice and is retried")
        runner("submit", "flaky", "--wait")

        title("A run that fails: the exit code tells a script, the text tells a person")
        runner("submit", "broken-example", "--wait", exit_code=1)

        title("A run that takes a minute, and is revoked while it runs")
        slow = Command("submit", "slow-count", "-p", "seconds=60", "--wait")
        slow.wait_for("^STARTED")
        runner("revoke", run_id_of(slow.wait_for(RUN_ID)), "--terminate", "--comment", "the demo is over")
        slow.end(3)

        title("A flow: list pages, count the words of each, join them, write an index if it has changed, clean up")
        runner("graph", "index-docs")
        runner("submit", "index-docs", "-p", "folder=docs/tutorials", "--wait")

        title("What happened")
        runner("runs", "--limit", "5")


RUN_ID = r"^[0-9a-f]{8}-[0-9a-f-]{27}$"


def run_id_of(said: str | list[str]) -> str:
    """Return the id from the output of ``submit``, which prints it on a separate line."""
    for line in [said] if isinstance(said, str) else said:
        if re.match(RUN_ID, line):
            return line
    raise DemoError(f"no id in {said}")


def report(run_id: str) -> str:
    """Return the result of a repo-report run as one line."""
    answer = subprocess.run(
        [sys.executable, "-m", "runner", "status", run_id, "--json"], cwd=PROJECT, capture_output=True, check=True
    )
    result = json.loads(answer.stdout)["result"]
    return f"its result: {result['files']} files, {result['lines']} lines, {result['bytes']} bytes"


def server_pid() -> int | None:
    """Return the process id of the embedded server, if one runs."""
    try:
        pid = int(json.loads((PROJECT / ".runner" / "server.json").read_text())["pid"])
        os.kill(pid, 0)
    except (OSError, ValueError, KeyError):
        return None
    return pid


def left_behind(server: int | None) -> list[str]:
    """Return the processes of this demo that still run."""
    found = []
    mark = f"{MARKER}={os.environ[MARKER]}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(entry.name) == os.getpid():
                continue
            if mark in (entry / "environ").read_bytes().split(b"\0") or int(entry.name) == server:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command:
                    found.append(f"{entry.name} {command}")
    return found


def main() -> int:
    """Run the demo and clean up after it; return the exit code."""
    os.environ[MARKER] = uuid.uuid4().hex
    os.environ.setdefault("COLUMNS", "120")
    for name in [name for name in os.environ if name.startswith("RUNNER_")]:
        del os.environ[name]
    was_running = server_pid() is not None
    server = None
    code = 0
    try:
        show()
    except DemoError as error:
        print(f"\nerror: {error}", file=sys.stderr, flush=True)  # noqa: T201
        code = 1
    finally:
        title("The end")
        if was_running:
            say("the embedded server ran before the demo, and goes on")
        else:
            server = server_pid()
            Command("down").stop() if code else runner("down")
    end = time.monotonic() + 10.0
    while (left := left_behind(server)) and time.monotonic() < end:
        time.sleep(0.05)
    if left:
        print("error: still running:\n  " + "\n  ".join(left), file=sys.stderr)  # noqa: T201
        return 1
    say("no process is left behind")
    return code


if __name__ == "__main__":
    sys.exit(main())
