"""How takers are forked and ended, without a worker."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

import pytest

from runner.attempt.slot import NOTHING, TakerState
from runner.worker.board import Board
from runner.worker.endings import Endings
from runner.worker.outcomes import Cause, ShownAttempt
from runner.worker.takers import Takers
from runner.worker.template import Born, Death, Failed, Gone, Template
from tests.support.deadline import wait_until
from tests.support.supervised import shared_of

T = TypeVar("T")


class Enforced(Takers):
    """Takers that could be ended."""

    enforced = True


@pytest.fixture
def endings() -> Endings:
    shared = shared_of()
    return Endings(shared, Enforced(shared, 0))


@pytest.fixture
def child() -> Iterator[int]:
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        time.sleep(300)
        os._exit(0)
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    yield pid
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def running(pid: int, token: str) -> Any:
    return NOTHING._replace(state=TakerState.RUNNING, pid=pid, held=token, run_id=token, job="job")


def test_a_taker_that_has_gone_on_to_another_run_is_not_ended(endings: Endings, child: int) -> None:
    board: Board = endings._board
    slot = board.slot(0)
    slot.show(running(child, "one"))
    attempt = ShownAttempt.of(0, slot.read())
    for next_one in (
        NOTHING._replace(state=TakerState.ASKING, pid=child, held="one", asked="two"),
        running(child, "two"),
    ):
        board.writer(0).show(next_one)
        endings.end(attempt, Cause.TERMINATED, signal.SIGKILL)
        assert not slot.ending
        assert not endings._causes
        os.kill(child, 0)
        assert os.waitpid(child, os.WNOHANG) == (0, 0)


def test_a_taker_asks_for_no_more_once_it_is_being_ended(endings: Endings, child: int) -> None:
    slot = endings._board.slot(0)
    slot.show(running(child, "one"))
    attempt = ShownAttempt.of(0, slot.read())
    endings.end(attempt, Cause.TIMEOUT, signal.SIGKILL)
    assert slot.ending
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_a_fork_that_fails_ends_no_other_taker() -> None:
    def be_taker(index: int, channel: socket.socket) -> NoReturn:
        channel.recv(1)
        os._exit(0)

    def take_over(jobs: Any) -> None:
        # In the template: the system has no process id left, and later it has.
        def fail() -> int:
            raise BlockingIOError("no more processes")

        os.fork = fail if jobs["break"] else fork

    fork = os.fork
    template = Template(be_taker, take_over)
    template.start()
    messages: list[Born | Death | Failed | Gone] = []

    def heard(kind: type[T]) -> list[T]:
        messages.extend(template.hear())
        return [message for message in messages if isinstance(message, kind)]

    pairs = []

    def ask(index: int) -> None:
        ours, theirs = socket.socketpair()
        pairs.append(ours)
        template.fork(index, theirs)
        theirs.close()

    try:
        ask(0)
        [first] = wait_until(lambda: heard(Born), 10.0, "the first taker")
        template.reload({"break": True})
        ask(1)
        assert wait_until(lambda: heard(Failed), 10.0, "the report") == [Failed(1)]
        template.reload({"break": False})
        ask(1)
        wait_until(lambda: len(heard(Born)) == 2, 10.0, "the second taker")
        os.kill(first.pid, 0)
    finally:
        for ours in pairs:
            ours.close()
        template.close()


class Asked:
    """A lock that records that somebody asks for it, and that nobody gets."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def acquire(self, timeout: float = -1.0) -> bool:
        self.asked.set()
        return False

    def release(self) -> None:
        """Do nothing, as at the end of the interpreter."""

    def _at_fork_reinit(self) -> None:
        """Do nothing in a fork."""


def test_no_template_is_forked_in_the_middle_of_a_line_of_the_log() -> None:
    reading, writing = os.pipe()
    lock = Asked()
    first = logging.NullHandler()
    first.lock = lock  # type: ignore[assignment]
    busy = logging.StreamHandler(os.fdopen(writing, "w", encoding="utf-8"))
    record = logging.LogRecord("a", logging.INFO, __file__, 1, "x" * 2**20, (), None)

    def drain() -> None:
        lock.asked.wait(60.0)
        while os.read(reading, 65536):
            pass

    def be_taker(index: int, channel: socket.socket) -> NoReturn:
        # It waits forever if another thread had the lock of the stream when the template was forked.
        busy.flush()
        os._exit(7)

    threads = [threading.Thread(target=busy.handle, args=(record,), daemon=True), threading.Thread(target=drain)]
    for thread in threads:
        thread.start()
    wait_until(lambda: fcntl.ioctl(reading, termios.FIONREAD, b"\0" * 4) != b"\0" * 4, 10.0, "it writes")
    template = Template(be_taker, lambda jobs: None)
    try:
        template.start()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            template.fork(0, theirs)
        messages: list[Born | Death | Failed | Gone] = []

        def death() -> Death | None:
            if select.select([template], [], [], 0.0)[0]:
                messages.extend(template.hear())
            return next((message for message in messages if isinstance(message, Death)), None)

        assert wait_until(death, 20.0, "the taker ends").exit_code == 7
    finally:
        template.close()
        lock.asked.set()
        threads[0].join(10.0)
        busy.stream.close()
        threads[1].join(10.0)
        os.close(reading)
