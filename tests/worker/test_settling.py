"""Runs that a worker's parent process settles are neither handed back in the meantime, nor renewed forever."""

from __future__ import annotations

import signal
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from runner.attempt.slot import NOTHING, TakerState
from runner.worker.drain import Drain
from runner.worker.endings import Endings
from runner.worker.settler import Settler
from runner.worker.state import WorkerState
from runner.worker.takers import Takers
from runner.worker.template import Death
from tests.support.deadline import wait_until
from tests.support.supervised import shared_of, state_of, supervision_of


def test_a_worker_that_stops_hands_nothing_back_that_is_being_settled() -> None:
    """A run that was killed for its timeout would start again."""
    settler, release, handed_back = Settler(), threading.Event(), list[str]()

    def settle() -> None:
        release.wait(30.0)

    settler.do(["settled now"], settle)
    channel = SimpleNamespace(hand_back_waiting=handed_back.extend)
    claims = SimpleNamespace(tokens=["settled now", "waits"])
    shared = shared_of(claims)
    state = state_of(shared, Takers(shared, 0), settler)
    state.waiting_here = WorkerState.waiting_here.fget(state)  # type: ignore[attr-defined]
    consumer: Any = SimpleNamespace(
        task_consumer=SimpleNamespace(cancel=lambda: None, channel=channel), connection_errors=()
    )
    drain = Drain(consumer, state, Endings(shared, state.takers), grace=300.0)
    drain._on_signal()
    drain.step()
    assert handed_back == ["waits"]
    release.set()
    wait_until(lambda: not settler.busy, 30.0, "it is settled")


def test_the_lease_of_what_cannot_be_settled_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("runner.worker.outcomes.await_group", fail)
    held: list[str] = []
    settler = Settler()
    claims = SimpleNamespace(lease=3.0, take=held.append, forget=held.remove)
    supervision = supervision_of(claims, settler=settler)
    shown = NOTHING._replace(state=TakerState.RUNNING, pid=2, held="claim", asked="next")
    supervision._dead.settle(shown, Death(0, 2, signal.SIGKILL, 0), expected=False)
    wait_until(lambda: not settler.busy, 30.0, "it is settled")
    assert held == []
