"""``unique``: a second submission within the time returns the first run."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runner.ledger.ledger import Ledger
from runner.ledger.submission import Submitted
from runner.model.hooks import Unique
from runner.model.job import JobSpec
from runner.model.run import State
from tests.support.bench import Bench


def spec(by: tuple[str, ...] = (), within: float = 3600.0) -> JobSpec:
    return JobSpec(name="job", task="m:a", digest="sha256:0", unique=Unique(for_=within, by=by))


def submitted(bench: Bench, job: JobSpec, **options: Any) -> Submitted:
    return bench.submitted(job=job, **options)


def test_the_second_one_returns_the_first(bench: Bench) -> None:
    first = submitted(bench, spec(), params={"day": 1})
    again = submitted(bench, spec(), params={"day": 1})
    assert (again.id, again.duplicate) == (first.id, True)
    assert again.run is not None
    assert len(bench.messages()) == 1


def test_other_params_are_another_run(bench: Bench) -> None:
    submitted(bench, spec(), params={"day": 1})
    assert not submitted(bench, spec(), params={"day": 2}).duplicate


def test_only_the_params_named_count(bench: Bench) -> None:
    first = submitted(bench, spec(by=("day",)), params={"day": 1, "note": "a"})
    assert submitted(bench, spec(by=("day",)), params={"day": 1, "note": "b"}).id == first.id
    assert not submitted(bench, spec(by=("day",)), params={"day": 2, "note": "a"}).duplicate


def test_also_when_the_first_has_ended(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS, job=spec())
    assert submitted(bench, spec()).id == run.id


def test_after_its_time_there_is_another_run(bench: Bench) -> None:
    first = submitted(bench, spec(within=0.001))
    bench.wait_until(lambda: not bench.ledger.client.keys(f"{bench.ledger.namespace}:unique:*"))
    assert submitted(bench, spec(within=0.001)).id != first.id


@pytest.mark.parametrize("started", [False, True])
def test_a_revoked_run_gives_way(bench: Bench, started: bool) -> None:
    if started:
        first, _ = bench.end(State.REVOKED, job=spec())
    else:
        first = bench.submit(job=spec())
        bench.ledger.revoke(first.id, by="me")
    assert submitted(bench, spec()).id != first.id


def test_a_late_end_of_another_run_does_not_release(bench: Bench) -> None:
    rerun = bench.submit(job=spec(), rerun_of="x")
    first = submitted(bench, spec())
    bench.ledger.revoke(rerun.id, by="me")
    assert submitted(bench, spec()).id == first.id


def test_a_rerun_is_one_more(bench: Bench) -> None:
    first = submitted(bench, spec())
    assert submitted(bench, spec(), rerun_of=first.id, trigger="rerun").id != first.id
    assert submitted(bench, spec()).id == first.id


def test_it_outlives_its_run(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS, job=spec())
    bench.ledger.forget(run.id)
    again = submitted(bench, spec())
    assert (again.id, again.run, again.duplicate) == (run.id, None, True)


def test_a_key_given_with_a_duplicate_means_the_first_run(bench: Bench) -> None:
    first = submitted(bench, spec())
    assert submitted(bench, spec(), key="k").id == first.id
    bench.ledger.client.delete(*bench.ledger.client.keys(f"{bench.ledger.namespace}:unique:*"))
    assert submitted(bench, spec(), key="k").id == first.id


def test_a_plain_celery_client_is_told_that_its_run_is_a_duplicate(bench: Bench) -> None:
    first = submitted(bench, spec())
    adopted = submitted(bench, spec(), trigger="celery", adopted=True)
    assert adopted.id != first.id
    run = bench.ledger.get(adopted.id)
    assert (run.state, run.reason) == (State.REVOKED, "skipped")
    assert submitted(bench, spec()).id == first.id
    assert bench.messages() == [first.id]


def test_a_herd_makes_one_run(bench: Bench) -> None:
    ids: set[str] = set()
    together = threading.Barrier(8)

    def submit() -> None:
        own = Bench(Ledger.open(bench.ledger.settings))
        together.wait(20.0)
        for _ in range(50):
            ids.add(submitted(own, spec()).id)
        own.ledger.close()

    herd = [threading.Thread(target=submit) for _ in range(8)]
    for thread in herd:
        thread.start()
    for thread in herd:
        thread.join(60.0)
    assert len(ids) == 1
    assert len(bench.messages()) == 1
