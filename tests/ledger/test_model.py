"""Random orders of everything that can be done to runs, checked against the invariants after each step."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from runner.ledger.attempt import Started
from runner.ledger.ledger import Ledger
from runner.ledger.pauses import pause, resume
from runner.model.concurrency import Concurrency
from runner.model.job import JobSpec
from runner.model.rate import Rate
from runner.model.require import Require
from runner.model.run import FINAL, TRANSITIONS, Run, State
from runner.settings import Settings
from tests.support.answers import text, texts
from tests.support.bench import ERROR, Bench
from tests.support.servers import Server

RATES = {
    "rated": Rate(limit=2, per=1000.0),
    "rated-one": Rate(limit=3, per=1000.0),
    "rated-skip": Rate(limit=1, per=1000.0),
    "held-one": Rate(limit=2, per=1000.0),
}
REQUIRED = {
    "held": (Require(job="job", within=1000.0),),
    "held-one": (Require(job="job", within=1000.0), Require(job="one", within=500.0)),
}
JOBS = {
    name: JobSpec(
        name=name,
        task="m:a",
        digest="sha256:0",
        concurrency=concurrency,
        rate=RATES.get(name),
        require=REQUIRED.get(name, ()),
    )
    for name, concurrency in {
        "job": None,
        "one": Concurrency(limit=1),
        "two": Concurrency(limit=2),
        "skip": Concurrency(limit=1, policy="skip"),
        "replace": Concurrency(limit=1, policy="replace"),
        "rated": None,
        "rated-one": Concurrency(limit=1),
        "rated-skip": Concurrency(limit=1, policy="skip"),
        "held": None,
        "held-one": Concurrency(limit=1),
    }.items()
}


class Runs(RuleBasedStateMachine):
    """Submit, claim, start, retry, lose, revoke, expire, settle, redeliver, hand back, forget, in any order."""

    server: Settings
    submitted = Bundle("submitted")
    claimed = Bundle("claimed")

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(Ledger.open(replace(self.server, namespace=f"m-{uuid.uuid4().hex[:12]}")))
        self.last: dict[str, Run] = {}
        self.forgotten: set[str] = set()
        self.winner: dict[str, str] = {}

    def teardown(self) -> None:
        self.bench.ledger.client.flushdb()
        self.bench.ledger.close()

    @rule(
        target=submitted,
        expires=st.sampled_from([None, 1000.0]),
        delayed=st.booleans(),
        job=st.sampled_from(list(JOBS)),
        forced=st.booleans(),
    )
    def submit(self, expires: float | None, delayed: bool, job: str, forced: bool) -> str:
        eta = time.time() + 500 if delayed else None
        # A pause does not refuse this trigger, so the run is made in any case.
        run = self.bench.submit(expires=expires, eta=eta, job=JOBS[job], forced=forced, trigger="hook")
        self.last[run.id] = run
        return run.id

    @rule(run_id=submitted)
    def submit_again(self, run_id: str) -> None:
        if run_id not in self.forgotten:
            assert self.bench.submitted(id=run_id).duplicate

    @rule(target=claimed)
    def claim(self):  # type: ignore[no-untyped-def]
        token = self.bench.try_claim()
        return multiple() if token is None else (self.bench.claimed[token], token)

    @rule(claim=claimed)
    def start(self, claim: tuple[str, str]) -> None:
        job = self.last[claim[0]].job if claim[0] in self.last else "job"
        started = self.bench.attempts.start(*claim, "w1", job)
        if isinstance(started, Started):
            self.winner[claim[0]] = claim[1]

    @rule(claim=claimed)
    def succeed(self, claim: tuple[str, str]) -> None:
        if self.bench.attempts.succeed(*claim, "1"):
            assert self.winner[claim[0]] == claim[1]

    @rule(claim=claimed)
    def fail(self, claim: tuple[str, str]) -> None:
        if self.bench.attempts.fail(*claim, "exception", ERROR):
            assert self.winner[claim[0]] == claim[1]

    @rule(claim=claimed, delay=st.sampled_from([0.0, 500.0]))
    def retry(self, claim: tuple[str, str], delay: float) -> None:
        if self.bench.attempts.retry(*claim, delay, ERROR):
            assert self.winner[claim[0]] == claim[1]

    @rule(claim=claimed)
    def lose(self, claim: tuple[str, str]) -> None:
        self.bench.attempts.lose(*claim, {"worker": "w1"})

    @rule(claim=claimed, pause=st.sampled_from([0, 500_000]))
    def hand_back(self, claim: tuple[str, str], pause: int) -> None:
        self.bench.ledger.script("hand_back", pause, "back", "", claim[1])

    @rule(claim=claimed)
    def lease_ends(self, claim: tuple[str, str]) -> None:
        self.bench.let_leases_end(claim[1])
        self.bench.beat()

    @rule(claim=claimed)
    def renew(self, claim: tuple[str, str]) -> None:
        self.bench.renew(claim[1])

    @rule(run_id=submitted, terminate=st.booleans())
    def revoke(self, run_id: str, terminate: bool) -> None:
        if run_id not in self.forgotten:
            self.bench.ledger.revoke(run_id, by="me", terminate=terminate)

    @rule(run_id=submitted)
    def comes_due(self, run_id: str) -> None:
        self.bench.make_due(run_id)

    @rule(job=st.sampled_from(list(RATES)))
    def time_of_a_rate_passes(self, job: str) -> None:
        client, keys = self.bench.ledger.client, self.bench.ledger.keys
        client.delete(keys.named(f"starts:{job}"))
        client.zadd(keys.rates, {job: 1}, xx=True)

    @rule(job=st.sampled_from(["job", "one"]), succeeded=st.booleans())
    def a_required_job_succeeded_lately_or_not(self, job: str, succeeded: bool) -> None:
        now = round(self.bench.now() * 1000)
        self.bench.ledger.client.hset(self.bench.ledger.keys.succeeded, job, now if succeeded else 1)

    @rule(run_id=submitted)
    def expires_now(self, run_id: str) -> None:
        self.bench.make_expire(run_id)

    @rule(job=st.sampled_from(["*", *JOBS]))
    def pause(self, job: str) -> None:
        pause(self.bench.ledger, job, by="me")

    @rule(job=st.sampled_from(["*", *JOBS]))
    def resume(self, job: str) -> None:
        resume(self.bench.ledger, job)

    @rule(run_id=submitted)
    def forget(self, run_id: str) -> None:
        if run_id not in self.forgotten and self.bench.ledger.get(run_id).final:
            self.bench.ledger.forget(run_id)
            self.forgotten.add(run_id)
            del self.last[run_id]

    @rule()
    def beat(self) -> None:
        self.bench.beat()

    @invariant()
    def everything_holds(self) -> None:
        client, namespace = self.bench.ledger.client, self.bench.ledger.namespace
        runs = {run.id: run for run in self.bench.ledger.read(list(self.last))}
        assert set(runs) == set(self.last), "a run was lost"
        queued = self.bench.messages()
        delayed = texts(client.zrange(f"{namespace}:delayed", 0, -1))
        aside = [
            run_id for key in client.scan_iter(f"{namespace}:waiting:*") for run_id in texts(client.zrange(key, 0, -1))
        ]
        aside += [
            run_id for key in client.scan_iter(f"{namespace}:parked:*") for run_id in texts(client.zrange(key, 0, -1))
        ]
        aside += [
            run_id for key in client.scan_iter(f"{namespace}:rated:*") for run_id in texts(client.zrange(key, 0, -1))
        ]
        for key in client.scan_iter(f"{namespace}:requiring:*"):
            aside += texts(client.zrange(key, 0, -1))
            assert client.sismember(f"{namespace}:required", key.partition(":requiring:")[2]), "nobody looks at it"
        for job, rate in RATES.items():
            passes = texts(client.zrange(f"{namespace}:passes:{job}", 0, -1))
            assert len(passes) + client.llen(f"{namespace}:starts:{job}") <= rate.limit, "more start than may"
            assert all(runs[run_id].state in (State.PENDING, State.RETRY) for run_id in passes), "a pass leaked"
            if client.exists(f"{namespace}:rated:{job}"):
                assert client.zscore(f"{namespace}:rates", job) is not None, "nothing lets runs go on"
        for key in client.scan_iter(f"{namespace}:holders:*"):
            group = JOBS[key.rsplit(":", 1)[1]].concurrency
            assert group is not None
            assert client.zcard(key) <= group.limit, "more hold a slot than may"
            assert all(runs[run_id].state not in FINAL for run_id in texts(client.zrange(key, 0, -1))), "a slot leaked"
        held = [text(value).split("\n", 1)[0] for value in client.hvals(f"{namespace}:claims")]
        for run_id, run in runs.items():
            before = self.last[run_id]
            if before.final:
                assert run.state is before.state, "a final state changed"
            messages = (queued + delayed + aside).count(run_id) + sum(run_id in claim for claim in held)
            if run.state not in FINAL:
                assert messages == 1, f"{run.state} has {messages} messages"
            assert messages <= 1
            indexed = {state for state in State if client.zscore(f"{namespace}:state:{state}", run_id) is not None}
            assert indexed == {run.state}
            if run.state is not before.state:
                assert _reachable(before.state, run.state)
        self.last = runs
        assert client.hlen(f"{namespace}:claims") == client.zcard(f"{namespace}:leases")


def _reachable(start: State, end: State) -> bool:
    """One rule may make more than one transition: a lost attempt is swept and then read."""
    return any(end is step or end in TRANSITIONS[step] for step in TRANSITIONS[start])


@pytest.mark.timeout(600)
def test_any_order_keeps_the_invariants(server_settings: Settings, redis_server: Server) -> None:
    # A database of its own: the invariants look at all keys, and other tests leave many.
    Runs.server = replace(server_settings, redis_url=redis_server.database(9))
    run_state_machine_as_test(
        Runs,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
