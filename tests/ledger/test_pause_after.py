"""``pause_after``: the FAILURE that is one too many pauses its job, in the same step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from runner.errors import JobPaused
from runner.ledger.audit import read_acts
from runner.ledger.pauses import pause, read_pauses, resume
from runner.model.hooks import Hook, Hooks
from runner.model.job import JobSpec
from runner.model.run import State
from tests.support.bench import ERROR, Bench

JOB = JobSpec(name="job", task="m:a", digest="sha256:0", pause_after=3)
FAILURE, SUCCESS, REVOKED = State.FAILURE, State.SUCCESS, State.REVOKED


def ends(bench: Bench, *states: State, job: JobSpec = JOB) -> list[str]:
    """Have runs end in these states, one after the other; return their ids."""
    return [bench.end(state, job=job)[0].id for state in states]


def is_paused(bench: Bench, job: str = "job") -> bool:
    return job in read_pauses(bench.ledger)


def test_that_many_failures_in_a_row_pause_the_job(bench: Bench) -> None:
    ends(bench, FAILURE, FAILURE)
    assert not is_paused(bench)
    [last] = ends(bench, FAILURE)
    held = read_pauses(bench.ledger)["job"]
    comment = "3 runs in a row ended in FAILURE (pause_after)"
    assert (held.by, held.comment, held.ends) == ("runner", comment, None)
    [act] = read_acts(bench.ledger, limit=10, act="pause")
    assert (act.by, act.job, act.id, act.comment) == ("runner", "job", last, comment)
    with pytest.raises(JobPaused, match="runner"):
        bench.submit(job=JOB)


def test_a_success_begins_the_count_anew_and_a_revocation_does_not(bench: Bench) -> None:
    ends(bench, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, REVOKED)
    assert not is_paused(bench)
    ends(bench, FAILURE)
    assert is_paused(bench)


def test_resuming_begins_the_count_anew_and_hooks_count_on(bench: Bench) -> None:
    job = replace(JOB, hooks=Hooks(failure=(Hook(job="told", after=5),)))
    ends(bench, FAILURE, FAILURE, FAILURE, job=job)
    assert resume(bench.ledger, "job", by="me")
    ids = ends(bench, FAILURE, FAILURE, job=job)
    assert not is_paused(bench)
    assert [bench.ledger.get(run_id).failures_in_row for run_id in ids] == [4, 5]
    ends(bench, FAILURE, job=job)
    assert is_paused(bench)


def test_runs_that_were_under_way_end_as_they_do_and_the_pause_stays(bench: Bench) -> None:
    runs = [bench.submit(job=JOB) for _ in range(5)]
    tokens = [bench.start(run) for run in runs]
    for run, token in zip(runs[:4], tokens[:4], strict=True):
        bench.attempts.fail(run.id, token, "exception", ERROR)
    since = read_pauses(bench.ledger)["job"].since
    bench.attempts.succeed(runs[4].id, tokens[4], "1")
    assert read_pauses(bench.ledger)["job"].since == since
    assert len(read_acts(bench.ledger, limit=10, act="pause")) == 1


def test_failures_reported_at_once_and_again_pause_once(bench: Bench) -> None:
    """Whoever reports them: workers that race, and those that ask again since the answer was lost."""
    runs = [bench.submit(job=JOB) for _ in range(3)]
    held = [(run, bench.start(run)) for run in runs]
    with ThreadPoolExecutor(12) as herd:
        list(herd.map(lambda pair: bench.attempts.fail(pair[0].id, pair[1], "exception", ERROR), held * 8))
    assert is_paused(bench)
    assert sorted(bench.ledger.get(run.id).failures_in_row or 0 for run in runs) == [1, 2, 3]
    assert len(read_acts(bench.ledger, limit=10, act="pause")) == 1


def test_one_failure_reported_often_is_one(bench: Bench) -> None:
    run = bench.submit(job=JOB)
    token = bench.start(run)
    for _ in range(5):
        bench.attempts.fail(run.id, token, "exception", ERROR)
    assert not is_paused(bench)


def test_a_pause_of_a_person_stays_as_it_is(bench: Bench) -> None:
    run = bench.submit(job=JOB)
    token = bench.start(run)
    ends(bench, FAILURE, FAILURE)
    pause(bench.ledger, "job", by="me", seconds=3600, comment="a move")
    bench.attempts.fail(run.id, token, "exception", ERROR)
    held = read_pauses(bench.ledger)["job"]
    assert (held.by, held.comment) == ("me", "a move")


def test_a_pause_that_has_ended_is_none(bench: Bench) -> None:
    ends(bench, FAILURE, FAILURE)
    pause(bench.ledger, "job", by="me", seconds=0.001)
    bench.wait_until(lambda: not is_paused(bench))
    ends(bench, FAILURE)
    assert read_pauses(bench.ledger)["job"].by == "runner"


def test_a_forced_run_that_fails_pauses_nothing_anew(bench: Bench) -> None:
    ends(bench, FAILURE, FAILURE, FAILURE)
    since = read_pauses(bench.ledger)["job"].since
    run = bench.submit(job=JOB, forced=True)
    bench.attempts.fail(run.id, bench.start(run), "exception", ERROR)
    assert read_pauses(bench.ledger)["job"].since == since


def test_lost_attempts_and_refused_params_count_too(bench: Bench) -> None:
    job = replace(JOB, pause_after=1, delivery="at_most_once")
    run = bench.submit(job=job)
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
    assert read_pauses(bench.ledger)["job"].comment == "1 run ended in FAILURE (pause_after)"


def test_a_damaged_count_or_pause_ends_no_run_badly(bench: Bench) -> None:
    client, namespace = bench.ledger.client, bench.ledger.namespace
    client.hset(f"{namespace}:failed-in-row", "job", "2 x")
    client.hset(f"{namespace}:paused", "other", "{")
    ends(bench, FAILURE, FAILURE)
    assert not is_paused(bench)
    ends(bench, FAILURE)
    assert is_paused(bench)
