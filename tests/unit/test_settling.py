"""What a worker's parent process settles: neither handed back meanwhile, nor renewed for ever."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from runner.app.drain import Drain
from runner.app.job_request import JobRequest
from runner.app.settler import Settler
from tests.support.deadline import wait_until


def test_a_worker_that_stops_hands_nothing_back_that_is_being_settled() -> None:
    """A run that was killed for its timeout would start again."""
    settler, release, handed_back = Settler(), threading.Event(), list[str]()
    settler.do("settled now", lambda: release.wait(30.0) and None)
    channel = SimpleNamespace(hand_back_waiting=handed_back.extend)
    app = SimpleNamespace(settler=settler, claims=SimpleNamespace(tokens=["settled now", "waits"]))
    consumer: Any = SimpleNamespace(
        app=app, pool=None, task_consumer=SimpleNamespace(cancel=lambda: None, channel=channel), connection_errors=()
    )
    drain = Drain(consumer, grace=300.0)
    drain._on_signal()
    drain.step()
    assert handed_back == ["waits"]
    release.set()
    wait_until(lambda: not settler.busy, 30.0, "it is settled")


def test_the_lease_of_what_cannot_be_settled_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr("runner.app.job_request.kill_group", fail)
    forgotten: list[str] = []
    request: Any = JobRequest.__new__(JobRequest)
    request.token, request.worker_pid = "claim", 2
    request._app = SimpleNamespace(claims=SimpleNamespace(forget=forgotten.append), collector=None)
    with pytest.raises(OSError, match="no more processes"):
        request._settle(ValueError())
    assert forgotten == ["claim"]
