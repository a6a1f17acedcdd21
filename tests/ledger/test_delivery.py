"""Messages whose handling breaks: nothing that a worker does with one leaves a run without an end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.delivery.claims import Claims, claim_command
from runner.delivery.transport import Channel
from runner.model.run import Run, State
from tests.ledger.conftest import LEASE, Bench

TOKEN = "a-token"


def a_channel(bench: Bench, queue: str) -> Any:
    channel: Any = Channel.__new__(Channel)
    channel.claims = Claims(lambda: bench.ledger, LEASE)
    channel._active_queues, channel._token, channel.connection_errors = [queue], TOKEN, ()
    channel._qos = SimpleNamespace(let_go=lambda _: None)
    return channel


def delivered(bench: Bench, run: Run, handle: Any) -> Claims:
    """Have a channel take the message of a run, and give it to what breaks."""
    queue, raw = claim_command(bench.ledger.client, bench.ledger.namespace, TOKEN, LEASE, "w1", ["default"])
    channel = a_channel(bench, queue)
    channel.connection = SimpleNamespace(_deliver=handle)
    channel._deliver(queue, raw.encode())
    claims: Claims = channel.claims
    return claims


def test_a_run_whose_message_breaks_its_handling_fails(bench: Bench) -> None:
    def breaks(*_: object) -> None:
        raise ValueError("nobody thought of this")

    run = bench.submit()
    claims = delivered(bench, run, breaks)
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason) == (State.FAILURE, "exception")
    assert after.error is not None
    assert "nobody thought of this" in after.error["message"]
    assert claims.tokens == []
    assert bench.held() == 0


def test_a_flood_of_what_cannot_be_read_is_put_away_in_portions(bench: Bench) -> None:
    client, key = bench.ledger.client, f"{bench.ledger.namespace}:queue:default:5"
    client.lpush(key, *["no message"] * 1200)
    run = bench.submit()
    assert bench.try_claim() is None
    assert client.llen(key) == 701
    assert bench.try_claim() is None
    assert bench.claimed_id() == run.id
    assert client.llen(f"{bench.ledger.namespace}:dead-letters") == 1200


def test_an_id_that_is_no_text_ends_no_worker(bench: Bench) -> None:
    """Half a character, which JSON in bytes may hold and Redis is never sent; its body cannot be read either."""
    raw = b'{"headers": {"runner": 1, "id": "half \xed\xb3\xa9", "task": "job"}, "body": "?"}'
    channel = a_channel(bench, "default")
    channel._deliver("default", raw)
    [letter] = bench.ledger.client.lrange(f"{bench.ledger.namespace}:dead-letters", 0, -1)
    assert "printable" in letter


def test_an_attempt_that_is_under_way_keeps_its_claim_until_the_lease_runs_out(bench: Bench) -> None:
    """As where the message breaks what follows the start, in a pool that has no children."""
    run = bench.submit()

    def starts_and_breaks(*_: object) -> None:
        bench.attempts.start(run.id, TOKEN, "w1", run.job)
        raise ValueError("after the start")

    claims = delivered(bench, run, starts_and_breaks)
    assert bench.ledger.get(run.id).state is State.STARTED
    assert claims.tokens == []
    bench.let_leases_end(TOKEN)
    bench.beat()
    assert bench.ledger.get(run.id).state is State.RETRY
