"""Forked processes that import modules of jobs, and their results."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runner.authoring.signature import Fault
from runner.model.message import advise
from runner.process.group import guard, release

_POLL_SECONDS = 0.01
_KEPT_BYTES = 4096
"""The size of the beginning of an import's output that is kept (bytes)."""
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux

Job = dict[str, Any]
Work = Callable[[Job, Callable[[str], None]], dict[str, Any]]


class Child:
    """A process that checks the jobs of one module in order.

    It sends its findings through a pipe line by line, so that those before a crash are known. Before each import it
    sends a description, so that a crash can be reported for the right job.
    """

    def __init__(self, jobs: list[Job], work: Work, seconds: float) -> None:
        self.jobs = jobs
        self.seconds = seconds
        self.answers: list[dict[str, Any]] = []
        self.forked = False
        self.timed_out = False
        self.status: int | None = None
        self.printed = {"out": b"", "err": b""}
        self._stage = "task"
        self._rest = b""
        pipes = {name: os.pipe() for name in ("answers", "out", "err")}
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(jobs, work, {name: ends[1] for name, ends in pipes.items()})
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)  # the child does so, too; the first one counts
        guard(self.pid)
        self.deadline = time.monotonic() + seconds
        self.pipes = {}
        for name, (read, write) in pipes.items():
            os.close(write)
            os.set_blocking(read, False)
            self.pipes[name] = read

    def read(self, name: str) -> bool:
        """Read a pipe; return False at its end."""
        try:
            data = os.read(self.pipes[name], 65536)
        except BlockingIOError:
            return True
        if name != "answers":
            room = _KEPT_BYTES - len(self.printed[name])
            self.printed[name] += data[: max(0, room)]
            return bool(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # other code wrote to the pipe
                self._take(json.loads(line))
        return bool(data)

    def _take(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            self._stage = message["stage"]
        elif "forked" in message:
            self.forked = True
        else:
            self.answers.append(message)
            self._stage = "task"

    def poll(self) -> bool:
        """Return whether the process has ended, ending it after its timeout."""
        if self.status is None:
            if time.monotonic() > self.deadline and not self.timed_out:
                self.timed_out = True
                _kill_group(self.pid)
            if _has_ended(self.pid):
                # Before reaping it, because its id may be reused afterwards.
                _kill_group(self.pid)
                release(self.pid)
                _, self.status = os.waitpid(self.pid, 0)
        return self.status is not None

    def close(self) -> None:
        """Read the rest of the pipes, and close them."""
        for name, descriptor in self.pipes.items():
            with contextlib.suppress(OSError):
                while self.read(name) and name == "answers" and len(self.answers) < len(self.jobs):
                    if not _readable(descriptor):
                        break
            os.close(descriptor)

    @property
    def complete(self) -> bool:
        """Return whether all jobs were checked."""
        return len(self.answers) == len(self.jobs)

    def left_over(self) -> list[Job]:
        """Return the unchecked jobs of a module that could be imported."""
        if self.complete or self._stage == "task":
            return []
        return self.jobs[len(self.answers) + 1 :]

    def verdict(self) -> Iterator[dict[str, Any]]:
        """Yield the findings about the process as a whole."""
        first = self.jobs[0].get("name")
        if not self.complete:
            unseen = self.jobs[len(self.answers) :]
            for job in unseen if self._stage == "task" else unseen[:1]:
                yield _answer(job.get("name"), Fault(tuple(self._stage.split(".")), self._death()))
        if self.forked:
            what = "forks when it is imported, which leaves a copy of each worker"
            yield _answer(first, Fault(("task",), advise(what, "fork inside the function", "; ")))
        text = self.printed["out"].decode("utf-8", "replace").strip()
        if text:
            what = f"prints when it is imported: {text.splitlines()[0][:80]!r}"
            message = advise(what, "remove the print, or use logging", "; ")
            yield _answer(first, Fault(("task",), message, severity="warning"))

    def _death(self) -> str:
        last = self.printed["err"].decode("utf-8", "replace").strip().splitlines()
        tail = f"; its last line was {last[-1][:120]!r}" if last else ""
        if self.timed_out:
            return (
                f"the import takes longer than {self.seconds:g} s; do the work inside the function, not beside it{tail}"
            )
        assert self.status is not None
        code = os.waitstatus_to_exitcode(self.status)
        if code < 0:
            return f"the import crashes the process with {_signal_name(-code)}{tail}"
        return f"the import ends the process with exit status {code}; a worker would end too{tail}"


def _answer(job: str | None, fault: Fault) -> dict[str, Any]:
    return {"job": job, "faults": [fault.as_json()]}


class Watch:
    """The live children, and a reader of their pipes."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self.children:
            _kill_group(child.pid)
        self._selector.close()

    def add(self, child: Child) -> None:
        """Add a child."""
        self.children.append(child)
        for name, descriptor in child.pipes.items():
            self._selector.register(descriptor, selectors.EVENT_READ, (child, name))

    def ended(self) -> list[Child]:
        """Wait briefly; return the children that have ended since the last call."""
        for key, _ in self._selector.select(_POLL_SECONDS):
            child, name = key.data
            if not child.read(name):
                self._selector.unregister(key.fd)
        if not self._selector.get_map():
            time.sleep(_POLL_SECONDS)
        done = [child for child in self.children if child.poll()]
        for child in done:
            self.children.remove(child)
            for descriptor in child.pipes.values():
                with contextlib.suppress(KeyError):
                    self._selector.unregister(descriptor)
            child.close()
        return done


def _be_child(jobs: list[Job], work: Work, ends: dict[str, int]) -> None:
    """Check the jobs, and never return."""
    status = 1
    try:
        own = os.getpid()
        os.setpgid(0, 0)
        os.dup2(ends["out"], 1)
        os.dup2(ends["err"], 2)
        pipe = ends["answers"]

        def send(value: dict[str, Any]) -> None:
            data = json.dumps(value).encode() + b"\n"
            while data:
                data = data[os.write(pipe, data) :]

        os.register_at_fork(before=lambda: send({"forked": True}) if os.getpid() == own else None)
        for job in jobs:
            found = work(job, lambda stage: send({"stage": stage}))
            sys.stdout.flush()
            if os.getpid() != own:
                os._exit(0)  # a fork that the import made
            send(found)
        sys.stderr.flush()
        status = 0
    finally:
        os._exit(status)


def _readable(descriptor: int) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(0))


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(pgid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pgid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def adopt_orphans() -> set[int]:
    """Become the parent of processes that an import leaves in sessions of their own (Linux only).

    Returns:
        The current children of this process, to be spared by :func:`end_orphans`.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    return _children()


def end_orphans(spared: set[int]) -> None:
    """Kill the children of this process except those in ``spared``, and their children once they are orphans."""
    while found := _children() - spared:
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _children() -> set[int]:
    try:
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return set()
    return {int(pid) for pid in listed.split()}
