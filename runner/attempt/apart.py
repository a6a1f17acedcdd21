"""Run each run of a job with ``isolation: process`` in a separate process.

A taker that has performed no run itself forks the process, waits for it, and relays its messages. To the worker nothing
differs: ending the taker ends the process of the run, and if that process dies, the taker dies in the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from billiard import current_process
from billiard.common import terminate_handler_fired
from celery import platforms, signals
from celery.utils.log import get_logger

from runner.attempt.attempt_report import AttemptReport
from runner.attempt.forks import own_multiprocessing
from runner.attempt.state import TakerProcess
from runner.process.group import guard, lent, release

log = get_logger(__name__)

EX_SOFTWARE = 70
"""The exit code of the process of a run that could not report its attempt."""

LOOK_SECONDS = 0.02
"""Seconds between checks of the process where the kernel has no pidfd (macOS, Linux before 5.3)."""

_TO_GROUP = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that are passed on to the process group of the run, as if it were the taker's group."""
_TO_PROCESS = (signal.SIGUSR1,)
"""The signal of the soft timeout."""
_PASSED_ON = (*_TO_GROUP, *_TO_PROCESS)

Handler = Callable[[int, FrameType | None], object] | int | None
"""A handler from ``signal.getsignal``."""


def perform_apart(process: TakerProcess, worker: str, work: Callable[[], AttemptReport]) -> AttemptReport:
    """Do ``work`` in a separate process, which has ended with its process group when this returns.

    If that process dies, this one dies in the same way.

    Args:
        process: this process.
        worker: the name of its worker.
        work: performs the run.
    """
    handlers = {signum: signal.getsignal(signum) for signum in (*_PASSED_ON, signal.SIGINT)}
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    process.capture.share()
    with process.capture.turned():
        # Once here and not in each fork: it reads much of the memory, which a fork would have to copy.
        process.state.note()
    answers, answering = os.pipe()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    try:
        with lent() as adopt:
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                _be_apart(work, answering, lambda: _begin(process, worker, parent, adopt, handlers, mask))
        os.close(answering)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the process does so, too; the first one counts
        guard(pid)
        with _passing_on(pid) as ending:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            data = _read(answers, pid)
            # Before reaping it, because its id may be reused afterwards.
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            release(pid)
            _, status = os.waitpid(pid, 0)
    finally:
        os.close(answers)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    report = _report_of(data)
    if report is None:
        _die_alike(status)
    if ending:
        process.state.spoiled = "it was asked to end"
    return report


def _be_apart(work: Callable[[], AttemptReport], answering: int, begin: Callable[[], None]) -> NoReturn:
    """Run the process of the run."""
    status, ended = EX_SOFTWARE, False
    try:
        begin()
        answer = json.dumps(work().plain()).encode()
        while answer:
            answer = answer[os.write(answering, answer) :]
        status = 0
    except SystemExit as leaving:
        # The exception of a signal handler.
        status = leaving.code & 0xFF if isinstance(leaving.code, int) else EX_SOFTWARE
        ended = terminate_handler_fired()
    except BaseException:
        log.exception("the process of a run failed")
    finally:
        try:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            if ended:
                # The handler has restored the default action of its signal.
                for signum in (signum for signum in _TO_GROUP if signal.getsignal(signum) == signal.SIG_DFL):
                    os.kill(os.getpid(), signum)
            os._exit(status)


def _begin(
    process: TakerProcess,
    worker: str,
    parent: int,
    adopt: Callable[[], None],
    handlers: Mapping[signal.Signals, Handler],
    mask: Iterable[int],
) -> None:
    """Prepare this fork for performing a run, with its signals held back meanwhile."""
    os.setpgid(0, 0)
    adopt()
    guard(os.getpgrp())
    platforms.set_pdeathsig("SIGKILL")
    if os.getppid() != parent:
        os._exit(EX_SOFTWARE)
    own_multiprocessing(current_process().name)
    process.generators.reseed()
    process.state.note_fork()
    signals.worker_process_init.send(sender=worker)
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _passing_on(pid: int) -> Iterator[list[int]]:
    """Pass signals on to the process of the run; yield a list of the received termination signals."""
    ending: list[int] = []

    def pass_on(signum: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):
            if signum in _TO_GROUP:
                ending.append(signum)
                os.killpg(pid, signum)
            else:
                os.kill(pid, signum)

    before = {signum: signal.signal(signum, pass_on) for signum in _PASSED_ON}
    try:
        yield ending
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _read(answers: int, pid: int) -> bytes:
    """Return the output of the process until its exit; other processes may keep its pipe open longer."""
    os.set_blocking(answers, False)
    poller = select.poll()
    poller.register(answers, select.POLLIN)
    with _pidfd(pid) as gone:
        if gone is not None:
            poller.register(gone, select.POLLIN)
        data, open_end = b"", True
        while True:
            poller.poll(None if gone is not None else LOOK_SECONDS * 1000)
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            while open_end:
                try:
                    chunk = os.read(answers, 65536)
                except BlockingIOError:
                    break
                data += chunk
                if not chunk:
                    open_end = False
                    poller.unregister(answers)
            if ended:
                return data


@contextmanager
def _pidfd(pid: int) -> Iterator[int | None]:
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _report_of(data: bytes) -> AttemptReport | None:
    try:
        return AttemptReport.of(json.loads(data))
    except ValueError:
        return None


def _die_alike(status: int) -> NoReturn:
    """End this process in the same way as that of the run; its parent then settles the attempt as lost."""
    if os.WIFSIGNALED(status):
        signum = os.WTERMSIG(status)
        # Only the core dump of the crashed process is useful.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):
            signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else EX_SOFTWARE)
