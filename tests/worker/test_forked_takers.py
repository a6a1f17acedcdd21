"""How takers are forked and ended, without a worker."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
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
