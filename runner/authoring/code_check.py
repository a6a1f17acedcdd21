"""Check the code of jobs in separate processes, so that its imports cannot affect this one."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from runner.authoring.signature import Fault
from runner.errors import InvalidSpec
from runner.model.job import JOB, JobSpec
from runner.process.group import guard, release
from runner.settings import Settings

IMPORT_SECONDS = 10.0
"""The default timeout of importing one module (seconds)."""
START_SECONDS = 30.0
"""Seconds that Python and Celery may take to start on a busy machine."""
_MOST_PROCESSES = 16

Finding = tuple[str, Fault]
"""The name of a job and its fault."""


class SetupFailed(InvalidSpec):
    """``setup`` of runner.yaml fails, so no job can be checked."""

    code = "setup_failed"


def check_code(settings: Settings, jobs: Iterable[JobSpec], seconds: float = IMPORT_SECONDS) -> Iterator[Finding]:
    """Yield the mismatches between jobs and the code they name.

    Args:
        settings: the settings with ``python_path`` and ``setup``, which are applied as in a worker.
        jobs: the jobs to check.
        seconds: the timeout of importing one module, and of ``setup``.

    Raises:
        SetupFailed: ``setup`` raises, or takes too long.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    names: dict[str, str] = {}
    for job in jobs:
        if job.task is None:
            continue  # a flow, whose steps are separate jobs here
        names[job.name] = job.task
        groups.setdefault(_module(job.task), []).append({"name": job.name, "options": JOB.write(job)})
    if not groups:
        return
    parallel = max(2, min(_MOST_PROCESSES, _processors()))
    request = {"groups": list(groups.values()), "parallel": parallel}
    # Even if all modules hang for their whole time; a longer run means a fault of the program itself.
    patience = START_SECONDS + seconds * (len(names) // parallel + 2)
    seen: set[str] = set()
    for answer in _answers(settings, request, seconds, patience):
        seen.add(answer["job"])
        for values in answer["faults"]:
            yield answer["job"], Fault.of_json(values)
    for name in names:
        if name not in seen:
            yield name, Fault(("task",), "could not be checked: the process that imports modules was ended")


def describe_code(settings: Settings, path: str, seconds: float = IMPORT_SECONDS) -> dict[str, Any]:
    """Return the facts about the callable at ``path`` that a new job needs.

    Returns:
        The result of ``runner.authoring.inspection.describe``.

    Raises:
        SetupFailed: see :func:`check_code`.
        InvalidSpec: the callable cannot be loaded.
    """
    error = f"{path} could not be looked at"
    for answer in _answers(settings, {"describe": path, "parallel": 1}, seconds, START_SECONDS + 2 * seconds):
        if "params" in answer:
            return answer
        if "error" in answer:
            error = answer["error"]
        else:
            faults = [Fault.of_json(values) for values in answer.get("faults", ())]
            error = next((f"{path}: {fault.message}" for fault in faults if fault.severity == "error"), error)
    raise InvalidSpec(error, hint="write module:function; python_path of runner.yaml says where modules are")


def _processors() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 2  # macOS


def _module(task: str) -> str:
    return task.partition(":")[0] if ":" in task else task.rpartition(".")[0]


def _answers(settings: Settings, request: dict[str, Any], seconds: float, patience: float) -> Iterator[dict[str, Any]]:
    """Start the program, send it the request, and yield its answers; the program has ended afterwards in any case."""
    request = {
        **request,
        "project": str(settings.project),
        "python_path": [str(folder) for folder in settings.python_path],
        "setup": settings.setup,
        "seconds": seconds,
    }
    process = subprocess.Popen(
        # -P: `python -m` would put the working folder in front of sys.path.
        [sys.executable, "-P", "-m", "runner.authoring.import_check"],
        cwd=settings.project,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        guard(process.pid)
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(request).encode())
        answers = _Answers(process.stdout.fileno())
        answers.deadline = time.monotonic() + START_SECONDS + seconds
        first = next(answers, None)
        if first is None:
            raise _setup_failed(settings, f"did not end within {seconds:g} s, or ended the process")
        if "setup" in first:
            raise _setup_failed(settings, first["setup"])
        answers.deadline = time.monotonic() + patience
        yield from answers
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        release(process.pid)
        process.wait()
        process.stdout.close()


def _setup_failed(settings: Settings, message: str) -> SetupFailed:
    if settings.setup is None:
        return SetupFailed("the process that imports modules did not start", hint="runner doctor tells more")
    return SetupFailed(f"setup: {settings.setup}: {message}", hint="correct setup in runner.yaml")


class _Answers(Iterator[dict[str, Any]]):
    """The JSON objects from a pipe, until its end or ``deadline`` (``time.monotonic``)."""

    def __init__(self, descriptor: int) -> None:
        self.deadline = 0.0
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._rest = b""

    def __next__(self) -> dict[str, Any]:
        while not self._lines:
            left = self.deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                raise StopIteration
            data = os.read(self._descriptor, 65536)
            if not data:
                raise StopIteration
            *self._lines, self._rest = (self._rest + data).split(b"\n")
        answer: dict[str, Any] = json.loads(self._lines.pop(0))
        return answer
