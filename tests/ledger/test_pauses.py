"""Pauses: at once, fleet-wide, and nothing of what waits is lost."""

from __future__ import annotations

import pytest

from runner.errors import JobPaused
from runner.ledger.attempt import Dropped, Started
from runner.ledger.health.reconcile import reconcile
from runner.ledger.pauses import pause, read_pauses, resume
from runner.model.concurrency import Concurrency
from runner.model.job import JobSpec
from runner.model.pause import ALL
from runner.model.run import State
from tests.support.bench import ERROR, Bench


@pytest.mark.parametrize("whom", ["job", ALL])
def test_a_submission_is_refused_and_says_who_when_and_why(bench: Bench, whom: str) -> None:
    pause(bench.ledger, whom, by="me@host", seconds=3600.0, comment="moving")
    with pytest.raises(JobPaused) as refused:
        bench.submit()
    assert "me@host" in refused.value.message
    assert "moving" in refused.value.message
    assert refused.value.exit_code == 5
    assert not bench.messages()


def test_a_known_key_is_answered_all_the_same(bench: Bench) -> None:
    first = bench.submit(key="k")
    pause(bench.ledger, "job", by="me")
    assert bench.submitted(key="k").id == first.id


def test_forced_runs_pass(bench: Bench) -> None:
    pause(bench.ledger, "job", by="me")
    run = bench.submit(forced=True)
    assert isinstance(bench.attempts.start(run.id, bench.claim(), "w1", "job"), Started)


@pytest.mark.parametrize("trigger", ["schedule", "hook", "celery"])
def test_what_has_nobody_to_tell_waits(bench: Bench, trigger: str) -> None:
    pause(bench.ledger, "job", by="me")
    run = bench.submit(trigger=trigger)
    assert run.state is State.PENDING
    assert bench.ledger.get(run.id).detail == "the job is paused"
    assert not bench.messages()


def test_what_waits_is_set_aside_and_goes_on_in_its_order(bench: Bench) -> None:
    runs = [bench.submit() for _ in range(4)]
    other = bench.submit(job=bench.job("other"))
    pause(bench.ledger, "job", by="me")
    for run in runs:
        assert bench.attempts.start(run.id, bench.claim(), "w1", "job") == Dropped("paused")
    assert bench.messages() == [other.id]
    assert bench.held() == 0
    bench.beat()
    assert bench.messages() == [other.id]
    assert resume(bench.ledger, "job")
    bench.beat()
    assert bench.messages() == [other.id, *(run.id for run in runs)]


def test_it_ends_by_itself(bench: Bench) -> None:
    run = bench.submit()
    pause(bench.ledger, "job", by="me", seconds=0.05)
    bench.attempts.start(run.id, bench.claim(), "w1", "job")
    bench.wait_until(lambda: not read_pauses(bench.ledger))
    bench.beat()
    assert bench.messages() == [run.id]


def test_a_running_attempt_goes_on_and_its_retry_waits(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    pause(bench.ledger, "job", by="me")
    assert bench.attempts.retry(run.id, token, 0.0, ERROR)
    bench.make_due(run.id)
    bench.beat()
    assert not bench.messages()
    assert bench.ledger.get(run.id).detail == "the job is paused"


def test_one_set_aside_can_be_revoked(bench: Bench) -> None:
    pause(bench.ledger, "job", by="me")
    run = bench.submit(trigger="hook")
    bench.ledger.revoke(run.id, by="me")
    assert bench.ledger.get(run.id).reason == "cancelled"
    assert not bench.ledger.client.exists(f"{bench.ledger.namespace}:parked:job")


def test_a_paused_run_holds_no_slot(bench: Bench) -> None:
    job = JobSpec(name="job", task="m:a", digest="sha256:0", concurrency=Concurrency(limit=1))
    run = bench.submit(job=job)
    pause(bench.ledger, "job", by="me")
    bench.attempts.start(run.id, bench.claim(), "w1", "job")
    forced = bench.submit(job=job, forced=True)
    assert bench.messages() == [forced.id]


def test_pauses_of_all_and_of_one_are_separate(bench: Bench) -> None:
    pause(bench.ledger, ALL, by="me")
    pause(bench.ledger, "job", by="me")
    assert set(read_pauses(bench.ledger)) == {ALL, "job"}
    assert resume(bench.ledger, ALL)
    with pytest.raises(JobPaused):
        bench.submit()
    assert resume(bench.ledger, "job")
    assert not resume(bench.ledger, "job")
    assert bench.submit().state is State.PENDING


def test_the_doctor_finds_nothing_wrong_with_what_is_parked(bench: Bench) -> None:
    pause(bench.ledger, "job", by="me")
    bench.submit(trigger="hook")
    assert not [finding for finding in reconcile(bench.ledger) if finding.count]
