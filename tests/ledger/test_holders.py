"""No run is stuck forever: whatever holds a run that is not final is taken away, and the run still ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from runner.ledger.health.reconcile import reconcile
from runner.model.run import FINAL, Run, State
from tests.support.bench import ERROR, Bench

HOUR = 3600.0


@dataclass(frozen=True)
class Held:
    """A run that somebody or something holds, and what it ends in once that is gone."""

    state: State
    hold: Callable[[Bench], tuple[Run, str]]
    """Returns the run and the token of its claim, '' for none."""
    ends: State = State.SUCCESS
    losses: int = 0


def _claimed(bench: Bench) -> tuple[Run, str]:
    run = bench.submit()
    return run, bench.claim_of(run)


def _delayed(bench: Bench) -> tuple[Run, str]:
    return bench.submit(eta=bench.now() + HOUR), ""


def _refused(bench: Bench) -> tuple[Run, str]:
    run, token = _claimed(bench)
    bench.ledger.script("hand_back", int(HOUR * 1000), "job not declared here", "", token)
    return run, ""


def _retry_delayed(bench: Bench) -> tuple[Run, str]:
    run = bench.submit()
    bench.attempts.retry(run.id, bench.start(run), HOUR, ERROR)
    return run, ""


def _retry_claimed(bench: Bench) -> tuple[Run, str]:
    run, _ = bench.at(State.RETRY)
    return run, bench.claim_of(run)


def _lost(bench: Bench) -> tuple[Run, str]:
    run = bench.submit()
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
    return run, ""


def _handed_back(bench: Bench) -> tuple[Run, str]:
    run = bench.submit()
    bench.ledger.script("hand_back", 0, "the worker stops", "", bench.start(run))
    return run, bench.claim_of(run)


def _revoked(terminate: bool) -> Callable[[Bench], tuple[Run, str]]:
    def hold(bench: Bench) -> tuple[Run, str]:
        run, token = bench.at(State.STARTED)
        bench.ledger.revoke(run.id, by="me", terminate=terminate)
        return run, token

    return hold


HELD: dict[str, Held] = {
    "claimed by a worker that had not started it": Held(State.PENDING, _claimed),
    "delayed, with nobody there when it is due": Held(State.PENDING, _delayed),
    "refused by a worker that does not know its job": Held(State.PENDING, _refused),
    "started": Held(State.STARTED, lambda bench: bench.at(State.STARTED), losses=1),
    "started and revoked": Held(State.STARTED, _revoked(False), State.REVOKED, losses=1),
    "started and to be terminated": Held(State.STARTED, _revoked(True), State.REVOKED),
    "waiting for a retry": Held(State.RETRY, _retry_delayed),
    "a retry that was claimed": Held(State.RETRY, _retry_claimed),
    "waiting for a redelivery": Held(State.RETRY, _lost, losses=1),
    "handed back and claimed again": Held(State.RETRY, _handed_back),
}


def test_each_state_that_is_not_final_has_holders_here() -> None:
    assert {held.state for held in HELD.values()} == set(State) - FINAL


@pytest.mark.parametrize("name", HELD)
def test_the_holder_is_gone(bench: Bench, name: str) -> None:
    held = HELD[name]
    run, token = held.hold(bench)
    assert bench.ledger.get(run.id).state is held.state
    if token:
        bench.let_leases_end(token)
    # Another worker comes by: once for what was held, once more when it is due.
    bench.beat()
    bench.make_due(run.id)
    _end(bench, run, held)
    assert not bench.attempts.succeed(run.id, token, "2")


@pytest.mark.parametrize("name", HELD)
def test_the_message_or_claim_is_gone(bench: Bench, name: str) -> None:
    held = HELD[name]
    run, token = held.hold(bench)
    client, namespace = bench.ledger.client, bench.ledger.namespace
    client.hdel(f"{namespace}:claims", token)
    client.zrem(f"{namespace}:leases", token)
    client.zrem(f"{namespace}:delayed", run.id)
    client.hdel(f"{namespace}:run:{run.id}", "message")
    bench.let_leases_end("none")
    reconcile(bench.ledger, mend=True)
    bench.make_due(run.id)
    _end(bench, run, held)


@pytest.mark.parametrize("name", [name for name, held in HELD.items() if held.state is not State.STARTED])
def test_what_waits_expires_though_all_is_gone(bench: Bench, name: str) -> None:
    run, token = HELD[name].hold(bench)
    client, namespace = bench.ledger.client, bench.ledger.namespace
    client.hset(f"{namespace}:run:{run.id}", "expires_at", 1)
    client.zadd(f"{namespace}:expiring", {run.id: 1})
    client.hdel(f"{namespace}:claims", token)
    client.zrem(f"{namespace}:leases", token)
    bench.beat()
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason) == (State.REVOKED, "expired")


def _end(bench: Bench, run: Run, held: Held) -> None:
    if held.ends is State.SUCCESS:
        assert bench.messages() == [run.id]
        assert bench.attempts.succeed(run.id, bench.start(run), "1")
    after = bench.ledger.get(run.id)
    assert (after.state, after.losses) == (held.ends, held.losses)
    assert bench.messages() == []
    assert bench.held() == 0
