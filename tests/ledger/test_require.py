"""Runs that wait until other jobs have succeeded: none starts before, none is lost, those that wait hold nothing."""

from __future__ import annotations

from typing import Any

import pytest

from runner.ledger.batch import Batch
from runner.ledger.health.reconcile import reconcile
from runner.ledger.pauses import pause, resume
from runner.ledger.submission import Entry, Submission
from runner.model.concurrency import Concurrency
from runner.model.job import JobSpec
from runner.model.rate import Rate
from runner.model.require import Require
from runner.model.run import Run, State
from tests.support.answers import texts
from tests.support.bench import ERROR, Bench

EXTRACT = JobSpec(name="extract", task="m:a", digest="sha256:0")
HOUR = 3600.0


def spec(*jobs: str, within: float = HOUR, **options: Any) -> JobSpec:
    required = tuple(Require(job=job, within=within) for job in jobs or ("extract",))
    return JobSpec(name="job", task="m:a", digest="sha256:0", require=required, **options)


def held(bench: Bench, job: str = "extract", within: float = HOUR) -> list[str]:
    return texts(bench.ledger.client.zrange(bench.ledger.keys.requiring(job, round(within * 1000)), 0, -1))


def succeed(bench: Bench, run: Run) -> None:
    assert bench.attempts.succeed(run.id, bench.start(run), "1")


def succeed_in(bench: Bench, job: str = "extract") -> None:
    succeed(bench, bench.submit(job=JobSpec(name=job, task="m:a", digest="sha256:0")))


def make_old(bench: Bench, job: str = "extract") -> None:
    """Have the last success of a job be two hours old."""
    bench.ledger.client.hset(bench.ledger.keys.succeeded, job, round((bench.now() - 2 * HOUR) * 1000))


def test_a_run_waits_for_the_success_of_another_job_and_holds_nothing(bench: Bench) -> None:
    runs = [bench.submit(job=spec()) for _ in range(3)]
    assert bench.messages() == []
    assert held(bench) == [run.id for run in runs]
    assert bench.ledger.get(runs[0].id).detail == "waiting for job extract to succeed"
    bench.beat()
    assert bench.messages() == []
    succeed_in(bench)
    bench.beat()
    assert bench.messages() == [run.id for run in runs]
    assert held(bench) == []
    assert not bench.ledger.client.exists(bench.ledger.keys.required)
    for run in runs:
        succeed(bench, run)


def test_a_recent_success_lets_a_run_pass_and_an_old_one_does_not(bench: Bench) -> None:
    succeed_in(bench)
    passed = bench.submit(job=spec())
    assert bench.messages() == [passed.id]
    make_old(bench)
    late = bench.submit(job=spec())
    bench.beat()
    assert held(bench) == [late.id]
    longer = bench.submit(job=spec(within=3 * HOUR))
    assert longer.id in bench.messages()


def test_a_failure_of_the_other_job_lets_nobody_go_on(bench: Bench) -> None:
    run = bench.submit(job=spec())
    extract = bench.submit(job=EXTRACT)
    bench.attempts.fail(extract.id, bench.start(extract), "exception", ERROR)
    bench.beat()
    assert held(bench) == [run.id]


def test_all_that_is_required_must_have_succeeded(bench: Bench) -> None:
    run = bench.submit(job=spec("extract", "check"))
    succeed_in(bench, "extract")
    bench.beat()
    assert held(bench, "check") == [run.id]
    assert bench.ledger.get(run.id).detail == "waiting for job check to succeed"
    succeed_in(bench, "check")
    bench.beat()
    assert bench.messages() == [run.id]


def test_it_is_looked_at_again_before_the_first_start(bench: Bench) -> None:
    succeed_in(bench)
    run = bench.submit(job=spec())
    make_old(bench)
    bench.start(run)
    assert bench.ledger.get(run.id).state is State.PENDING
    assert held(bench) == [run.id]
    assert bench.held() == 0


@pytest.mark.parametrize("how", ["retry", "lose", "hand_back"])
def test_what_has_started_once_does_not_wait_again(bench: Bench, how: str) -> None:
    succeed_in(bench)
    run = bench.submit(job=spec())
    token = bench.start(run)
    make_old(bench)
    if how == "retry":
        bench.attempts.retry(run.id, token, 0.0, ERROR)
    elif how == "lose":
        bench.attempts.lose(run.id, token, {"worker": "w1"})
    else:
        bench.ledger.script("hand_back", 0, "back", "", token)
    bench.make_due(run.id)
    assert bench.messages() == [run.id]
    succeed(bench, run)


def test_one_that_waits_can_be_revoked_and_expires(bench: Bench) -> None:
    runs = [bench.submit(job=spec()), bench.submit(job=spec(), expires=HOUR)]
    bench.ledger.revoke(runs[0].id, by="me")
    bench.make_expire(runs[1].id)
    assert [run.reason for run in bench.ledger.read([run.id for run in runs])] == ["cancelled", "expired"]
    assert held(bench) == []
    bench.beat()
    assert not bench.ledger.client.exists(bench.ledger.keys.required)


def test_it_takes_neither_a_slot_nor_a_place_in_the_rate(bench: Bench) -> None:
    limits: dict[str, Any] = {"concurrency": Concurrency(limit=1), "rate": Rate(limit=1, per=HOUR)}
    first = bench.submit(job=spec(**limits))
    free = bench.submit(job=JobSpec(name="job", task="m:a", digest="sha256:0", **limits))
    assert bench.messages() == [free.id]
    succeed(bench, free)
    succeed_in(bench)
    bench.beat()
    assert bench.ledger.get(first.id).detail == "waiting for its rate limit"


@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_the_policy_of_concurrency_acts_once_it_need_not_wait(bench: Bench, policy: Any) -> None:
    limited = Concurrency(limit=1, policy=policy)
    active = bench.submit(job=JobSpec(name="job", task="m:a", digest="sha256:0", concurrency=limited))
    bench.start(active)
    run = bench.submit(job=spec(concurrency=limited))
    assert bench.ledger.get(run.id).state is State.PENDING
    assert bench.ledger.get(active.id).revocation is None
    succeed_in(bench)
    bench.beat()
    assert (bench.ledger.get(run.id).reason == "skipped") is (policy == "skip")
    assert bool(bench.ledger.get(active.id).revocation) is (policy == "replace")


def test_a_run_of_a_paused_job_waits_for_the_end_of_the_pause_as_well(bench: Bench) -> None:
    run = bench.submit(job=spec())
    pause(bench.ledger, "job", by="me")
    succeed_in(bench)
    bench.beat()
    assert bench.ledger.get(run.id).detail == "the job is paused"
    make_old(bench)
    resume(bench.ledger, "job")
    bench.beat()
    assert held(bench) == [run.id]


def test_a_bulk_submission_waits_too_and_goes_on_in_its_order(bench: Bench) -> None:
    common = Submission(id="", job=spec(), params={}, queue="default", priority=5, trigger="api")
    ids = [f"run-{number}" for number in range(450)]
    Batch(bench.ledger, common, [Entry(run_id, {}) for run_id in ids]).outcomes()
    assert held(bench) == ids
    succeed_in(bench)
    assert bench.beat().more
    bench.wait_until(lambda: not bench.beat().more)
    assert bench.messages() == ids


def test_many_sets_of_runs_that_still_wait_keep_none_from_going_on(bench: Bench) -> None:
    for number in range(120):
        bench.submit(job=spec(f"other-{number}"))
    run = bench.submit(job=spec())
    succeed_in(bench)
    bench.wait_until(lambda: not bench.beat().more and bench.messages() == [run.id])


def test_the_doctor_finds_what_no_beat_would_look_at(bench: Bench) -> None:
    run = bench.submit(job=spec())
    assert not [finding.name for finding in reconcile(bench.ledger) if finding.count]
    bench.ledger.client.delete(bench.ledger.keys.required)
    assert {finding.name: finding.count for finding in reconcile(bench.ledger)}["slots"] == 1
    reconcile(bench.ledger, mend=True)
    succeed_in(bench)
    bench.beat()
    assert bench.messages() == [run.id]
