"""Hooks: one submission for each outcome, whatever breaks between the outcome and the submission."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from runner.catalog.catalog import Catalog
from runner.errors import Unavailable
from runner.hooks.fire import fire_hooks, fit, hook_id
from runner.model.hooks import Hook, Hooks
from runner.model.job import JobSpec, Retention
from runner.model.param import Param
from runner.model.run import State
from tests.hooks.firing import Broken, come_again, fired, waiting
from tests.support.bench import ERROR, Bench
from tests.support.catalogs import catalog_of

OUTCOMES = ("success", "failure", "revoked", "retry")
TAKES_RUN = MappingProxyType({"run": Param("run", MappingProxyType({"type": "object"}))})


def jobs(**changes: JobSpec) -> Catalog:
    hooks = Hooks(**{outcome: (Hook(job=f"on-{outcome}"),) for outcome in OUTCOMES})
    found = {
        "job": JobSpec(name="job", task="m:a", digest="sha256:0", hooks=hooks),
        **{f"on-{outcome}": JobSpec(name=f"on-{outcome}", task="m:a", params=TAKES_RUN) for outcome in OUTCOMES},
        **changes,
    }
    return catalog_of(found)


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILURE, State.REVOKED])
def test_each_outcome_fires_its_hooks_once(bench: Bench, state: State) -> None:
    catalog = jobs()
    run, _ = bench.end(state, job=catalog.jobs["job"])
    assert waiting(bench) == 1
    [(name, [hook])] = fired(bench, catalog).items()
    assert name == f"on-{state.lower()}"
    assert (hook.hook_of, hook.trigger) == (run.id, "hook")
    given = hook.params["run"]
    assert (given["id"], given["state"], given["job"]) == (run.id, state, "job")
    assert set(run.document()) | {"hook", "log", "omitted"} == set(given)
    assert given["hook"] == state.lower()
    assert waiting(bench) == 0


def test_every_retry_fires(bench: Bench) -> None:
    catalog = jobs()
    run = bench.submit(job=catalog.jobs["job"])
    bench.attempts.retry(run.id, bench.start(run), 0.0, ERROR)
    fired(bench, catalog)
    bench.make_due(run.id)
    bench.beat()
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
    assert len(fired(bench, catalog)["on-retry"]) == 2


def test_the_id_of_a_run_may_hold_spaces(bench: Bench) -> None:
    catalog = jobs()
    run = bench.submit(job=catalog.jobs["job"], id="as a client likes it")
    bench.attempts.succeed(run.id, bench.start(run), "1")
    [hook] = fired(bench, catalog)["on-success"]
    assert hook.hook_of == run.id


def test_a_run_stays_until_its_hooks_are_fired(bench: Bench) -> None:
    """However few runs of a job are kept, and however fast they end."""
    catalog = jobs()
    job = replace(catalog.jobs["job"], retention=Retention(runs=1, keep_at_least=0.0))
    runs = [bench.end(State.SUCCESS, job=job)[0] for _ in range(4)]
    assert {hook.hook_of for hook in fired(bench, catalog)["on-success"]} == {run.id for run in runs}
    last, _ = bench.end(State.SUCCESS, job=job)
    assert [run.id for run in bench.ledger.runs(job="job")] == [last.id]


def test_a_run_without_hooks_writes_nothing(bench: Bench) -> None:
    bench.end(State.SUCCESS)
    assert waiting(bench) == 0


def test_two_that_fire_the_same_make_one_run(bench: Bench) -> None:
    catalog = jobs()
    run, _ = bench.end(State.FAILURE, job=catalog.jobs["job"])
    fire_hooks(bench.ledger, catalog, by="w1")
    # The first one died before it could say that it was done.
    bench.ledger.client.zadd(f"{bench.ledger.namespace}:outbox", {f"{run.id} failure 1": 0})
    [hook] = fired(bench, catalog)["on-failure"]
    assert hook.id == hook_id(run.id, "failure", "1", "on-failure")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("script", ["outbox", "read", "submit"])
def test_whatever_breaks_while_hooks_are_fired_one_run_is_made(bench: Bench, script: str, after: bool) -> None:
    catalog = jobs()
    bench.end(State.SUCCESS, job=catalog.jobs["job"])
    broken = Broken(bench.ledger.client, bench.ledger.settings)
    broken.at, broken.after = script, after
    with pytest.raises(Unavailable):
        fire_hooks(broken, catalog, by="w1")
    come_again(bench)
    assert len(fired(bench, catalog)["on-success"]) == 1


def test_a_hook_that_is_gone_or_disabled_is_left_out_and_the_others_fire(bench: Bench) -> None:
    both = Hooks(success=(Hook(job="gone"), Hook(job="off"), Hook(job="on-success")))
    spec = JobSpec(name="job", task="m:a", digest="sha256:0", hooks=both)
    off = JobSpec(name="off", task="m:a", params=TAKES_RUN, enabled=False)
    catalog = jobs(job=spec, off=off)
    bench.end(State.SUCCESS, job=spec)
    assert set(fired(bench, catalog)) == {"on-success"}


def test_a_forgotten_run_fires_nothing_more(bench: Bench) -> None:
    catalog = jobs()
    run, _ = bench.end(State.SUCCESS, job=catalog.jobs["job"])
    bench.ledger.forget(run.id)
    assert fired(bench, catalog) == {}
    assert waiting(bench) == 0


def document(**fields: object) -> dict[str, object]:
    return {"id": "x", "result": None, "error": None, "params": {}, "log": [], **fields}


@pytest.mark.parametrize(
    ("large", "omitted"),
    [
        ({"result": "x" * 5000}, ["result"]),
        ({"error": {"type": "E", "message": "m", "traceback": "x" * 9000}}, ["result", "error.traceback"]),
        ({"log": ["x" * 5000]}, ["result", "log"]),
        ({"params": {"a": "x" * 5000}}, ["result", "log", "params"]),
    ],
)
def test_a_document_that_is_too_large_is_shortened_and_says_so(large: Mapping[str, object], omitted: list[str]) -> None:
    shortened = fit(document(**large), 4000)
    assert len(json.dumps(shortened)) <= 4000
    assert shortened["omitted"] == omitted
    assert shortened["id"] == "x"


def test_a_small_document_stays_whole() -> None:
    assert fit(document(result=1), 4000) == {**document(result=1), "omitted": []}
    steps = [{"name": f"s{number}", "state": "FAILURE" if number == 7 else "SUCCESS"} for number in range(200)]
    assert [step["name"] for step in fit(document(steps=steps), 4000)["steps"]] == ["s7"]


def test_a_run_that_is_submitted_again_does_not_fire_again(bench: Bench) -> None:
    catalog = jobs()
    spec = replace(catalog.jobs["job"], name="job")
    run, _ = bench.end(State.SUCCESS, job=spec)
    fired(bench, catalog)
    assert bench.submitted(job=spec, id=run.id).duplicate
    assert waiting(bench) == 0
