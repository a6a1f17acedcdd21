"""Whether a retry comes too late is asked of Redis' clock: that of the worker's host may be off."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Retry

from runner.attempt.job_task import JobTask
from runner.attempt.state import Attempt
from runner.ledger.attempt import Started
from runner.model.job import JobSpec
from runner.model.retry import RetryPolicy


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
@pytest.mark.parametrize(("expires_in", "outcome"), [(60.0, Retry), (1.0, ValueError)])
def test_a_retry_after_the_expiry_is_judged_by_the_clock_of_the_server(
    monkeypatch: pytest.MonkeyPatch, ahead: float, expires_in: float, outcome: type[Exception]
) -> None:
    servers = 1_700_000_000.0
    monkeypatch.setattr(time, "time", lambda: servers + ahead)
    policy = RetryPolicy(max_retries=1, delay=10.0, jitter=False)
    task: Any = SimpleNamespace(
        name="job",
        job=JobSpec(name="job", task="m:a", retry=policy),
        retryable=lambda _: True,
    )
    started = Started(attempt=1, retries=0, params={}, expires_at=servers + expires_in)
    taken: Any = SimpleNamespace(run_id="x")
    shared: Any = SimpleNamespace(attempts=SimpleNamespace(now=lambda: servers))
    attempt = Attempt(taken, shared, started=started)
    assert type(JobTask._decide(task, ValueError(), attempt)) is outcome
    assert attempt.settlement.retry_in == (10.0 if outcome is Retry else 0.0)
