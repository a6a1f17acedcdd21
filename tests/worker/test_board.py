"""The board: what its readers see while it is written."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from types import SimpleNamespace

import pytest

from runner.attempt import slot
from runner.worker.board import Board
from tests.support.deadline import wait_until


def test_a_taker_waits_for_a_parent_that_is_held_up_while_it_writes_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    tries, enough, pause = itertools.count(1), threading.Event(), time.sleep

    def counted(seconds: float) -> None:
        if next(tries) == slot._TRIES + 100:
            enough.set()
        pause(seconds)

    monkeypatch.setattr(slot, "time", SimpleNamespace(sleep=counted, monotonic=time.monotonic))
    board = Board()
    board.head.write_queues(["old"], "sha256:old")
    counter = board.head.version
    memory = board._memory
    # As the parent leaves it that has lost its processor in the midst of it.
    struct.pack_into("=I", memory, 0, counter + 1)
    found: list[tuple[int, list[str], str]] = []
    reader = threading.Thread(target=lambda: found.append(board.head.read_queues()), daemon=True)
    reader.start()
    assert enough.wait(20.0), "it looks again and again"
    assert reader.is_alive()
    struct.pack_into("=I", memory, 0, counter)
    board.head.write_queues(["new"], "sha256:new")
    wait_until(lambda: found, 10.0, "the head to be read")
    assert found[0][1:] in ((["old"], "sha256:old"), (["new"], "sha256:new"))


def test_the_head_is_at_rest_after_threads_have_written_it_at_once() -> None:
    head = Board().head
    names = [f"queue-{number}" for number in range(200)]

    def write() -> None:
        for _ in range(300):
            head.write_queues(names, "sha256:x")

    threads = [threading.Thread(target=write, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert head.version == 2 * 4 * 300
    assert head.read_queues() == (head.version, names, "sha256:x")
