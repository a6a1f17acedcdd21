"""Messages whose handling breaks: nothing that a worker does with one leaves a run without an end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from runner.attempt.held import HeldMessages
from runner.attempt.state import SharedState
from runner.delivery.claims import Claims
from runner.ledger.record import pack_digest
from runner.ledger.specs import write_known
from runner.ledger.take import Held
from runner.model.run import State
from tests.support.bench import LEASE, Bench
from tests.support.claims import claim
from tests.support.deadline import wait_until

TOKEN = "a-token"


def decide(bench: Bench, message: str, look: Any = None) -> None:
    """Have a taker that knows no job decide about a message that it has claimed."""
    app: Any = SimpleNamespace(job_task=lambda name: None)
    claims = Claims(lambda: bench.ledger, LEASE)
    held = HeldMessages(SharedState(app, "w1", claims), claims, look)
    assert held.decide(Held("default", 5, TOKEN, message)) is None


def claimed(bench: Bench) -> str:
    found = claim(bench.ledger, TOKEN, LEASE, "w1")
    assert found is not None
    return found[1]


def test_a_run_whose_message_breaks_its_handling_fails(bench: Bench) -> None:
    def breaks(*_: object) -> bool:
        raise ValueError("nobody thought of this")

    run = bench.submit()
    decide(bench, claimed(bench), breaks)
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason) == (State.FAILURE, "exception")
    assert after.error is not None
    assert "nobody thought of this" in after.error["message"]
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
    decide(bench, raw.decode("utf-8", "surrogateescape"))
    [letter] = bench.ledger.client.lrange(f"{bench.ledger.namespace}:dead-letters", 0, -1)
    assert "its id is not a valid run id" in letter


def test_an_attempt_that_is_under_way_keeps_its_claim_until_the_lease_runs_out(bench: Bench) -> None:
    """As where the message breaks what follows the start."""
    run = bench.submit()

    def starts_and_breaks(*_: object) -> None:
        bench.attempts.start(run.id, TOKEN, "w1", run.job)
        raise ValueError("after the start")

    decide(bench, claimed(bench), starts_and_breaks)
    assert bench.ledger.get(run.id).state is State.STARTED
    bench.let_leases_end(TOKEN)
    bench.beat()
    assert bench.ledger.get(run.id).state is State.RETRY


def test_a_question_that_arrives_after_its_taker_has_died_starts_nothing_that_waits_for_a_lease(bench: Bench) -> None:
    run = bench.submit()
    claims = Claims(lambda: bench.ledger, lease=60.0)
    claims.hand_back_asked(TOKEN)  # the taker is dead, and its question is on its way
    known, digest = "known", "sha256:0"
    write_known(bench.ledger, known, {run.job: pack_digest(digest)})
    answer = bench.ledger.script("take", "", "", "", TOKEN, 60_000, "w1", 1, known, "default")
    assert answer[1] == "go"
    assert bench.ledger.get(run.id).state is State.STARTED
    claims.hand_back_late()
    after = bench.ledger.get(run.id)
    assert (after.state, after.losses) == (State.RETRY, 0)
    assert bench.held() == 0
    assert bench.claimed_id() == run.id


def test_a_question_that_never_arrives_is_given_up_after_a_lease(bench: Bench) -> None:
    claims = Claims(lambda: bench.ledger, lease=0.05)
    claims.hand_back_asked(TOKEN)

    def given_up() -> bool:
        claims.hand_back_late()
        return not claims._asked_for

    wait_until(given_up, 20.0, "the question is given up")
