"""Every transition of a run, against a real server: where it may come from, and what refuses it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from runner.delivery.claims import PACKAGE
from runner.errors import AmbiguousId, KeyConflict, NotFinished, UnknownRun
from runner.ledger.attempt import Dropped, Started
from runner.ledger.beat import PRUNED_AT_ONCE, PRUNINGS
from runner.ledger.failure import Failure
from runner.ledger.health.finding import Level
from runner.ledger.health.retention import check_retention
from runner.ledger.ledger import Ledger
from runner.ledger.metrics import read_counts
from runner.ledger.record import DEFAULTS, pack_digest
from runner.ledger.scripts import run_script
from runner.ledger.specs import write_known
from runner.model.concurrency import Concurrency
from runner.model.hooks import Unique
from runner.model.run import FINAL, TRANSITIONS, Run, State, to_datetime
from tests.support.answers import text
from tests.support.bench import LEASE, Bench

ERROR = Failure("ValueError", "no", None, {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"})


def test_a_submission_is_pending_and_its_message_waits(bench: Bench) -> None:
    run = bench.submit(params={"day": "2026-11-23"})
    assert (run.state, run.attempts, run.params) == (State.PENDING, 0, {"day": "2026-11-23"})
    assert bench.messages() == [run.id]


def test_the_same_id_makes_one_run(bench: Bench) -> None:
    first = bench.submit()
    again = bench.submitted(id=first.id)
    assert again.duplicate
    assert bench.messages() == [first.id]


def test_a_key_makes_one_run_also_under_a_herd(bench: Bench) -> None:
    with ThreadPoolExecutor(16) as herd:
        ids = {answer.id for answer in herd.map(lambda _: bench.submitted(key="k"), range(100))}
    assert len(ids) == 1
    assert bench.messages() == list(ids)


def test_a_key_with_other_params_is_a_conflict(bench: Bench) -> None:
    bench.submit(key="k", params={"x": 1})
    with pytest.raises(KeyConflict):
        bench.submit(key="k", params={"x": 2})


def test_a_key_outlives_its_run(bench: Bench) -> None:
    run = bench.submit(key="k")
    bench.ledger.revoke(run.id, by="me")
    bench.ledger.forget(run.id)
    again = bench.submitted(key="k")
    assert (again.id, again.run, again.duplicate) == (run.id, None, True)


def test_one_attempt_from_start_to_success(bench: Bench) -> None:
    run = bench.submit(params={"x": 1})
    token = bench.claim()
    started = bench.attempts.start(run.id, token, "w1", "job")
    assert started == Started(attempt=1, retries=0, params={"x": 1}, expires_at=None)
    assert bench.ledger.get(run.id).state is State.STARTED
    assert bench.attempts.succeed(run.id, token, '{"empty": [], "n": 1}')
    done = bench.ledger.get(run.id)
    assert (done.state, done.result, done.reason) == (State.SUCCESS, {"empty": [], "n": 1}, None)
    assert bench.held() == 0


def test_the_guard_refuses_a_claim_that_is_not_there(bench: Bench) -> None:
    run = bench.submit()
    assert bench.attempts.start(run.id, "made-up", "w1", "job") == Dropped("stale")
    assert bench.ledger.get(run.id).state is State.PENDING


def test_the_guard_refuses_the_claim_of_another_run(bench: Bench) -> None:
    first = bench.submit()
    token = bench.claim()
    second = bench.submit()
    assert bench.attempts.start(second.id, token, "w1", "job") == Dropped("stale")
    assert bench.ledger.get(first.id).state is State.PENDING


@pytest.mark.parametrize("late", ["succeed", "fail", "retry", "lose", "progress"])
def test_a_stale_token_changes_nothing(bench: Bench, late: str) -> None:
    run = bench.submit()
    old = bench.claim()
    bench.attempts.start(run.id, old, "w1", "job")
    bench.ledger.script("hand_back", 0, "handed back", "", old)
    new = bench.claim()
    bench.attempts.start(run.id, new, "w2", "job")
    before = bench.ledger.get(run.id)
    actions: dict[str, Callable[[], object]] = {
        "succeed": lambda: bench.attempts.succeed(run.id, old, "1"),
        "fail": lambda: bench.attempts.fail(run.id, old, "exception", ERROR),
        "retry": lambda: bench.attempts.retry(run.id, old, 1.0, ERROR),
        "lose": lambda: bench.attempts.lose(run.id, old, {"worker": "w1"}),
        "progress": lambda: bench.attempts.progress(run.id, old, 0.5, "half"),
    }
    assert not actions[late]()
    assert bench.ledger.get(run.id) == before
    assert bench.attempts.succeed(run.id, new, "2")


@pytest.mark.parametrize("final", sorted(FINAL))
def test_final_is_final(bench: Bench, final: State) -> None:
    run, token = bench.end(final)
    before = bench.ledger.get(run.id)
    assert before.state is final
    assert not bench.attempts.succeed(run.id, token, "9")
    assert not bench.attempts.fail(run.id, token, "exception", ERROR)
    assert not bench.attempts.fail_waiting(run.id, token, "unknown_job", ERROR)
    assert not bench.attempts.retry(run.id, token, 0.0, ERROR)
    assert bench.attempts.start(run.id, token, "w2", "job") == Dropped("stale")
    _, changed = bench.ledger.revoke(run.id, by="me", terminate=True)
    assert not changed
    assert bench.ledger.get(run.id) == before


def test_a_message_of_a_finished_run_is_dropped(bench: Bench) -> None:
    run = bench.submit()
    bench.ledger.revoke(run.id, by="me")
    token = bench.claim()
    assert bench.attempts.start(run.id, token, "w1", "job") == Dropped("final")
    assert bench.held() == 0


def test_a_retry_waits_in_the_delayed_set_and_comes_back(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    assert bench.attempts.retry(run.id, token, 60.0, ERROR)
    waiting = bench.ledger.get(run.id)
    assert (waiting.state, waiting.retries, waiting.error and waiting.error["message"]) == (State.RETRY, 1, "no")
    assert waiting.retry_at is not None
    assert to_datetime(waiting.retry_at).timestamp() == pytest.approx(time.time() + 60, abs=5)
    assert bench.messages() == []
    bench.make_due(run.id)
    assert bench.messages() == [run.id]
    started = bench.attempts.start(run.id, bench.claim(), "w1", "job")
    assert isinstance(started, Started)
    assert (started.attempt, started.retries) == (2, 1)


def test_revoking_what_waits_ends_it(bench: Bench) -> None:
    queued, delayed, retried = bench.submit(), bench.submit(eta=time.time() + 100), None
    token = bench.claim()
    bench.attempts.start(queued.id, token, "w1", "job")
    bench.attempts.retry(queued.id, token, 50.0, ERROR)
    retried = bench.ledger.get(queued.id)
    for run in (delayed, retried):
        after, changed = bench.ledger.revoke(run.id, by="anna", comment="wrong day")
        assert changed
        assert (after.state, after.reason) == (State.REVOKED, "cancelled")
        assert after.revocation is not None
        assert (after.revocation["by"], after.revocation["comment"]) == ("anna", "wrong day")
    bench.make_due(delayed.id)
    assert bench.messages() == []


def test_revoking_what_runs_lets_its_outcome_stand(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    after, changed = bench.ledger.revoke(run.id, by="me")
    assert changed
    assert after.state is State.STARTED
    assert bench.attempts.succeed(run.id, token, "1")
    assert bench.ledger.get(run.id).state is State.SUCCESS


@pytest.mark.parametrize(("terminate", "reason"), [(False, "cancelled"), (True, "terminated")])
@pytest.mark.parametrize("follows", ["retry", "lose", "hand_back"])
def test_nothing_follows_an_attempt_that_was_revoked(bench: Bench, follows: str, terminate: bool, reason: str) -> None:
    run = bench.submit()
    token = bench.start(run)
    bench.ledger.revoke(run.id, by="me", terminate=terminate)
    if follows == "retry":
        bench.attempts.retry(run.id, token, 0.0, ERROR)
    elif follows == "lose":
        bench.attempts.lose(run.id, token, {"worker": "w1"})
    else:
        bench.ledger.script("hand_back", 0, "handed back", "", token)
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason) == (State.REVOKED, reason)
    assert bench.messages() == []
    assert bench.held() == 0


def test_terminate_is_told_to_workers_until_the_run_ends(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    after, _ = bench.ledger.revoke(run.id, by="me", terminate=True, signal="INT")
    assert after.detail == "terminating"
    assert bench.beat().terminating == {run.id: "INT"}
    bench.attempts.lose(run.id, token, {"worker": "w1"})
    assert bench.beat().terminating == {}


def test_an_expired_run_reads_revoked_though_nobody_looked(bench: Bench) -> None:
    run = bench.submit(expires=0.05)
    bench.wait_past(run.expires_at)
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason) == (State.REVOKED, "expired")


def test_an_expired_run_is_swept_and_never_starts(bench: Bench) -> None:
    swept = bench.submit(expires=0.05)
    bench.wait_past(swept.expires_at)
    bench.beat()
    assert bench.ledger.client.zcard(f"{bench.ledger.namespace}:state:REVOKED") == 1
    token = bench.claim()
    assert bench.attempts.start(swept.id, token, "w1", "job") == Dropped("final")


def test_expiry_counts_from_eta(bench: Bench) -> None:
    eta = time.time() + 1000
    run = bench.submit(eta=eta, expires=60.0)
    assert run.expires_at is not None
    assert to_datetime(run.expires_at).timestamp() == pytest.approx(eta + 60, abs=0.01)


def test_expiry_is_kept_across_retries(bench: Bench) -> None:
    run = bench.submit(expires=1000.0)
    token = bench.start(run)
    bench.attempts.retry(run.id, token, 0.0, ERROR)
    assert bench.ledger.get(run.id).expires_at == run.expires_at


def test_a_lost_attempt_is_delivered_again_after_one_two_four_seconds_then_poisoned(bench: Bench) -> None:
    run = bench.submit()
    for loss, pause in enumerate((1.0, 2.0), start=1):
        token = bench.start(run)
        before = bench.now()
        assert bench.attempts.lose(run.id, token, {"worker": "w1", "signal": "SIGKILL"}) == "RETRY"
        after = bench.ledger.get(run.id)
        assert (after.losses, after.retries) == (loss, 0)
        assert after.retry_at is not None
        assert to_datetime(after.retry_at).timestamp() - before == pytest.approx(pause, abs=0.5)
        bench.make_due(run.id)
    token = bench.start(run)
    assert bench.attempts.lose(run.id, token, {"worker": "w1", "signal": "SIGKILL"}) == "FAILURE"
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason, after.losses, after.attempts) == (State.FAILURE, "poisoned", 3, 3)
    assert [death["signal"] for death in after.deaths] == ["SIGKILL"] * 3


def test_a_death_by_the_oom_killer_is_recorded_as_one(bench: Bench) -> None:
    run = bench.submit(job=replace(bench.job(), max_deliveries=2))
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1", "signal": "SIGKILL"})
    bench.make_due(run.id)
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1", "signal": "SIGKILL", "oom_killed": True})
    after = bench.ledger.get(run.id)
    assert [death["oom_killed"] for death in after.deaths] == [False, True]
    assert after.error is not None
    assert after.error["message"].endswith("died 2 times in a row (ended by the kernel's OOM killer)")


def test_a_retry_forgives_earlier_losses(bench: Bench) -> None:
    run = bench.submit()
    for _ in range(2):
        bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
        bench.make_due(run.id)
    bench.attempts.retry(run.id, bench.start(run), 0.0, ERROR)
    bench.make_due(run.id)
    assert bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"}) == "RETRY"


def test_attempts_that_are_over_are_told_while_the_run_goes_on(bench: Bench) -> None:
    run = bench.submit()
    wide = Failure("ValueError", "路" * 200, "a long traceback", ERROR.celery)
    bench.attempts.retry(run.id, bench.start(run), 0.0, wide)
    bench.make_due(run.id)
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
    bench.make_due(run.id)
    bench.ledger.script("hand_back", 0, "the worker stops", "", bench.start(run))
    bench.attempts.succeed(run.id, bench.start(run), "1")
    past = bench.ledger.get(run.id).past_attempts
    assert [(attempt["attempt"], attempt["worker"], attempt["outcome"]) for attempt in past] == [
        (1, "w1", "retry"),
        (2, "w1", "lost"),
        (3, "w1", "handed_back"),
    ]
    # 300 bytes of an error, and no character cut through.
    assert [attempt["error"] for attempt in past] == ["ValueError: " + "路" * 96 + "…", None, None]
    assert all(attempt["started_at"] <= attempt["ended_at"] for attempt in past)


def test_no_more_than_the_last_twenty_attempts_are_told(bench: Bench) -> None:
    run = bench.submit()
    for _ in range(23):
        bench.attempts.retry(run.id, bench.start(run), 0.0, ERROR)
        bench.make_due(run.id)
    assert [past_attempt["attempt"] for past_attempt in bench.ledger.get(run.id).past_attempts] == list(range(4, 24))


def test_at_most_once_may_start_again_if_nothing_of_it_was_performed(bench: Bench) -> None:
    """As where a taker died before it heard that it had got the run."""
    run = bench.submit(job=replace(bench.job("once"), delivery="at_most_once"))
    bench.ledger.script("hand_back", 0, "its process died", "1", bench.start(run))
    assert bench.ledger.get(run.id).losses == 0
    bench.attempts.succeed(run.id, bench.start(run), "1")
    found = bench.ledger.get(run.id)
    assert (found.state, found.attempts) == (State.SUCCESS, 2)


def test_at_most_once_never_starts_again(bench: Bench) -> None:
    job = replace(bench.job("once"), delivery="at_most_once")
    for follows in ("lose", "hand_back", "sweep"):
        run = bench.submit(job=job)
        token = bench.start(run)
        if follows == "lose":
            bench.attempts.lose(run.id, token, {"worker": "w1"})
        elif follows == "hand_back":
            bench.ledger.script("hand_back", 0, "back", "", token)
        else:
            bench.let_leases_end(token)
            bench.beat()
        after = bench.ledger.get(run.id)
        assert (after.state, after.reason, after.attempts) == (State.FAILURE, "worker_lost", 1)
    assert bench.messages() == []


def test_at_most_once_may_be_delivered_again_before_it_started(bench: Bench) -> None:
    run = bench.submit(job=replace(bench.job("once"), delivery="at_most_once"))
    bench.let_leases_end(bench.claim())
    bench.beat()
    assert bench.messages() == [run.id]


@pytest.mark.parametrize("deliveries", [1, 2, 5])
def test_max_deliveries_counts_losses_in_a_row(bench: Bench, deliveries: int) -> None:
    run = bench.submit(job=replace(bench.job(), max_deliveries=deliveries))
    for loss in range(1, deliveries + 1):
        follows = bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
        assert follows == ("FAILURE" if loss == deliveries else "RETRY")
        bench.make_due(run.id)
    assert bench.ledger.get(run.id).reason == "poisoned"


def test_a_lost_attempt_that_cannot_start_before_it_expires_fails_at_once(bench: Bench) -> None:
    run = bench.submit(expires=0.9)
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason) == (State.FAILURE, "worker_lost")


def test_a_start_whose_answer_was_lost_is_answered_again(bench: Bench) -> None:
    run = bench.submit(params={"x": 1})
    token = bench.claim()
    assert bench.attempts.start(run.id, token, "w1", "job") == bench.attempts.start(run.id, token, "w1", "job")
    assert bench.ledger.get(run.id).attempts == 1


def test_a_hand_back_is_no_loss_and_goes_to_the_front(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    token = bench.start(first)
    bench.ledger.script("hand_back", 0, "the worker stops", "", token)
    after = bench.ledger.get(first.id)
    assert (after.state, after.losses, after.detail) == (State.RETRY, 0, "the worker stops")
    assert bench.messages() == [first.id, second.id]


def test_a_dead_workers_messages_come_back_and_only_the_started_one_is_charged(bench: Bench) -> None:
    ran, waited = bench.submit(), bench.submit()
    started, claimed = bench.start(ran), bench.claim()
    bench.let_leases_end(started, claimed)
    bench.beat()
    assert bench.ledger.get(ran.id).losses == 1
    assert bench.ledger.get(waited.id).losses == 0
    assert bench.messages() == [waited.id]
    assert bench.held() == 0
    bench.make_due(ran.id)
    assert bench.messages() == [ran.id, waited.id]


def test_what_was_lost_goes_ahead_of_what_waits_and_a_retry_behind_it(bench: Bench) -> None:
    lost, tried = bench.submit(), bench.submit()
    bench.attempts.lose(lost.id, bench.start(lost), {"worker": "w1"})
    bench.attempts.retry(tried.id, bench.start(tried), 60.0, ERROR)
    waits = bench.submit()
    bench.make_due(lost.id)
    bench.make_due(tried.id)
    assert bench.messages() == [lost.id, waits.id, tried.id]


def test_nothing_is_reaped_for_a_lease_after_a_pause_of_the_server(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    bench.pretend_pause()
    bench.let_leases_end(token, sweep=False)
    bench.beat()
    assert bench.ledger.get(run.id).state is State.STARTED
    assert bench.renew(token) == []
    assert bench.attempts.succeed(run.id, token, "1")


def test_a_lease_that_was_taken_away_stays_away(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    bench.let_leases_end(token)
    bench.beat()
    assert bench.renew(token) == [token]
    assert bench.held() == 0
    assert bench.ledger.get(run.id).state is State.RETRY


def test_a_run_no_attempt_can_be_made_of_fails(bench: Bench) -> None:
    run = bench.submit()
    assert bench.attempts.fail_waiting(run.id, bench.claim(), "import_error", ERROR)
    after = bench.ledger.get(run.id)
    assert (after.state, after.reason, after.attempts) == (State.FAILURE, "import_error", 0)
    assert bench.held() == 0


def test_a_delay_is_counted_by_the_clock_of_the_server(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 4e9)
    before = bench.now()
    run = bench.submit(delay=60.0, expires=30.0)
    assert run.eta is not None
    assert run.expires_at is not None
    eta = to_datetime(run.eta).timestamp()
    assert before + 59 < eta < bench.now() + 61
    assert to_datetime(run.expires_at).timestamp() == pytest.approx(eta + 30, abs=0.002)
    assert run.detail == f"scheduled for {run.eta}"
    assert bench.messages() == []
    at_once = bench.submit(delay=-1.0)
    assert bench.messages() == [at_once.id]


def test_how_long_a_run_is_refused_is_told_by_the_clock_of_the_server(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.submit()
    assert bench.ledger.refused_for(run.id) is None
    bench.ledger.script("hand_back", 60_000, "not declared here", "", bench.claim_of(run))
    monkeypatch.setattr(time, "time", lambda: 4e9)  # a host whose clock is years ahead
    refused = bench.ledger.refused_for(run.id)
    assert refused is not None
    assert 0 <= refused < 60


def test_the_time_that_a_run_waited_for_its_retry_is_no_time_that_it_ran(bench: Bench) -> None:
    run = bench.submit()
    bench.attempts.retry(run.id, bench.start(run), 3600.0, ERROR)
    bench.ledger.client.hset(f"{bench.ledger.namespace}:run:{run.id}", "started_at", 1)
    bench.ledger.revoke(run.id, by="me")
    bench.end(State.SUCCESS)
    counts = read_counts(bench.ledger)
    assert counts.runs["job", "REVOKED", "cancelled"] == 1
    assert sum(counts.ran["job"].counts) == 1
    assert counts.ran["job"].total < 60_000


def test_who_lost_its_claim_ends_no_run_that_waits(bench: Bench) -> None:
    run = bench.submit()
    stale = bench.claim()
    bench.let_leases_end(stale)
    bench.beat()
    assert not bench.attempts.fail_waiting(run.id, stale, "import_error", ERROR)
    other = bench.submit()
    assert not bench.attempts.fail_waiting(run.id, bench.claim_of(other), "import_error", ERROR)
    assert bench.ledger.get(run.id).state is State.PENDING
    assert bench.attempts.succeed(run.id, bench.start(run), "1")


def test_a_refused_submission_never_waits_and_touches_no_other_run(bench: Bench) -> None:
    """No worker is quick enough to start it, and it has no part in what its job asks for."""
    only_one = Concurrency(limit=1, policy="replace")
    job = replace(bench.job(), concurrency=only_one, unique=Unique(for_=60.0))
    running = bench.submit(job=job)
    bench.start(running)
    refused = bench.submit(job=job, params={"x": 1}, trigger="celery", adopted=True, refusal=ERROR)
    assert bench.try_claim() is None
    assert (refused.state, refused.reason) == (State.FAILURE, "invalid_params")
    assert refused.error == {"type": "ValueError", "message": "no", "traceback": None}
    assert bench.ledger.get(running.id).revocation is None
    again = bench.submitted(job=job, params={"x": 1})
    assert not again.duplicate


def test_unreadable_messages_go_to_the_dead_letters_and_do_not_stop_the_queue(bench: Bench) -> None:
    key = f"{bench.ledger.namespace}:queue:default:5"
    for raw in ("", "{", "[]", "7", '{"headers":1}', '{"headers":{},"properties":{}}', "\xff\xfe"):
        bench.ledger.client.lpush(key, raw)
    run = bench.submit()
    assert bench.attempts.start(run.id, bench.claim(), "w1", "job")
    assert bench.ledger.client.llen(f"{bench.ledger.namespace}:dead-letters") == 7


def test_priority_comes_first_then_order(bench: Bench) -> None:
    wanted = [bench.submit(priority=priority) for priority in (0, 3, 9, 5, 9)]
    order = [bench.claimed_id() for _ in wanted]
    by_priority = sorted(wanted, key=lambda run: -run.priority)
    assert order == [run.id for run in by_priority]


def test_unknown_is_not_pending(bench: Bench) -> None:
    for ask in (bench.ledger.get, bench.ledger.forget, lambda run_id: bench.ledger.revoke(run_id, by="me")):
        with pytest.raises(UnknownRun):
            ask("never-submitted")


def test_only_a_finished_run_is_forgotten(bench: Bench) -> None:
    run = bench.submit()
    with pytest.raises(NotFinished):
        bench.ledger.forget(run.id)
    bench.ledger.revoke(run.id, by="me")
    bench.ledger.forget(run.id)
    with pytest.raises(UnknownRun):
        bench.ledger.get(run.id)
    assert bench.leftovers(run.id) == []


def test_ids_resolve_by_prefix_and_by_job(bench: Bench) -> None:
    older = bench.submit(id="aaaaaaaa-1111")
    newer = bench.submit(id="aaaaaaaa-2222")
    assert bench.ledger.resolve("aaaaaaaa-1") == older.id
    assert bench.ledger.resolve(f"@{newer.job}") == newer.id
    with pytest.raises(AmbiguousId):
        bench.ledger.resolve("aaaaaaaa")
    with pytest.raises(AmbiguousId):
        bench.ledger.resolve("aaaaa")
    with pytest.raises(UnknownRun):
        bench.ledger.resolve("bbbbbbbb")
    with pytest.raises(UnknownRun):
        bench.ledger.resolve("@no-such-job")


def test_lists_filter_by_job_state_and_time_newest_first(bench: Bench) -> None:
    runs = [bench.submit(job=bench.job(name)) for name in ("a", "b", "a")]
    bench.ledger.revoke(runs[0].id, by="me")
    listed = bench.ledger.runs()
    assert {run.id for run in listed} == {run.id for run in runs}
    assert [run.submitted_at for run in listed] == sorted((run.submitted_at or "" for run in listed), reverse=True)
    assert {run.id for run in bench.ledger.runs(job="a")} == {runs[0].id, runs[2].id}
    assert [run.id for run in bench.ledger.runs(job="a", states=[State.REVOKED])] == [runs[0].id]
    assert bench.ledger.runs(since=time.time() + 60) == []
    assert len(bench.ledger.runs(limit=2)) == 2


def test_history_keeps_a_number_of_runs_a_job(bench: Bench) -> None:
    job = bench.job("kept", runs=3, keep_at_least=0.0)
    ended = []
    for _ in range(6):
        ended.append(bench.end(State.SUCCESS, job=job)[0])
        bench.wait_past(ended[-1].submitted_at, plus=0.001)
    live = bench.submit(job=job)
    assert {run.id for run in bench.ledger.runs(job="kept")} == {live.id, *(run.id for run in ended[-3:])}
    assert bench.ledger.get(live.id).state is State.PENDING
    assert bench.leftovers(ended[0].id) == []


@pytest.mark.parametrize("state", [State.SUCCESS, State.FAILURE, State.REVOKED])
def test_a_number_of_runs_spares_those_that_have_just_ended(bench: Bench, state: State) -> None:
    job = bench.job("kept", runs=3, keep_at_least=3600.0)
    ended = {bench.end(state, job=job)[0].id for _ in range(8)}
    bench.beat()
    assert {run.id for run in bench.ledger.runs(job="kept", limit=100)} == ended


def test_runs_beyond_their_number_go_once_they_are_old_enough_though_none_ends(bench: Bench) -> None:
    job = bench.job("kept", runs=3, keep_at_least=3.0)
    ended = [bench.end(State.SUCCESS, job=job)[0] for _ in range(2 * PRUNED_AT_ONCE + 4)]
    assert len(bench.ledger.get_many([run.id for run in ended])) == len(ended)

    def thinned() -> bool:
        bench.beat()
        return len(bench.ledger.runs(job="kept", limit=100)) == 3

    bench.wait_until(thinned)
    bench.beat()
    assert bench.ledger.client.zcard(f"{bench.ledger.namespace}:overfull") == 0


def test_a_long_run_that_has_just_ended_outlives_younger_submissions(bench: Bench) -> None:
    job = bench.job("kept", runs=1, keep_at_least=3600.0)
    long, token = bench.submit(job=job), "none"
    token = bench.start(long)
    short = [bench.end(State.SUCCESS, job=job)[0] for _ in range(3)]
    for run in short:
        bench.ledger.client.hset(f"{bench.ledger.namespace}:run:{run.id}", "finished_at", 1)
    bench.ledger.client.zadd(f"{bench.ledger.namespace}:overfull", {"kept": 0})
    bench.attempts.succeed(long.id, token, "1")
    bench.beat()
    assert [run.id for run in bench.ledger.runs(job="kept")] == [long.id]


def test_a_new_number_of_runs_holds_at_once(bench: Bench) -> None:
    few, many = (bench.job("kept", runs=runs, keep_at_least=0.0) for runs in (1, 1000))
    bench.end(State.SUCCESS, job=bench.job("kept", runs=1, keep_at_least=3600.0))
    for _ in range(3):
        bench.end(State.SUCCESS, job=bench.job("kept", runs=1, keep_at_least=3600.0))
    bench.end(State.SUCCESS, job=many)
    bench.ledger.client.zadd(f"{bench.ledger.namespace}:overfull", {"kept": 0}, xx=True)
    bench.beat()
    assert len(bench.ledger.runs(job="kept")) == 5
    bench.end(State.SUCCESS, job=few)
    assert len(bench.ledger.runs(job="kept")) == 1


def test_history_holds_although_a_run_has_just_ended(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS, job=bench.job("old", history=0.05, keep_at_least=3600.0))
    bench.wait_past(run.submitted_at, plus=0.3)
    bench.beat()
    with pytest.raises(UnknownRun):
        bench.ledger.get(run.id)


def test_1500_runs_that_end_within_a_second_can_all_be_read(bench: Bench) -> None:
    job = bench.job("burst")
    runs = [bench.submit(job=job) for _ in range(1500)]
    while (token := bench.try_claim()) is not None:
        run_id = bench.claimed[token]
        bench.attempts.start(run_id, token, "w1", "burst")
        bench.attempts.succeed(run_id, token, "1")
    bench.beat()
    assert len(bench.ledger.get_many([run.id for run in runs])) == 1500
    finding = check_retention(bench.ledger)
    assert (finding.count, finding.level) == (500, Level.OK)
    assert "keep_at_least" in finding.what


def test_the_doctor_warns_of_memory_that_young_runs_take(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.ledger.health.retention.COSTLY_BYTES", 100)
    monkeypatch.setattr("runner.ledger.health.retention.COSTLY_SHARE", 1e-9)
    for _ in range(3):
        bench.end(State.SUCCESS, job=bench.job("kept", runs=1))
    finding = check_retention(bench.ledger)
    assert (finding.count, finding.level, finding.examples) == (2, Level.WARNING, ("kept",))
    assert finding.remedy is not None


def test_history_is_pruned_by_age(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS, job=bench.job("old", history=0.05))
    bench.wait_past(run.submitted_at, plus=0.3)
    bench.beat()
    with pytest.raises(UnknownRun):
        bench.ledger.get(run.id)


@pytest.mark.parametrize(("portions", "left"), [(PRUNINGS, 0), (2, 3)])
def test_a_beat_prunes_in_portions_and_says_what_it_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, portions: int, left: int
) -> None:
    monkeypatch.setattr("runner.ledger.beat.PRUNINGS", portions)
    job = bench.job("old", history=0.05)
    ended = [bench.end(State.SUCCESS, job=job)[0] for _ in range(2 * PRUNED_AT_ONCE + 3)]
    bench.wait_past(ended[-1].submitted_at, plus=0.3)
    more = bench.beat().more
    assert (len(list(bench.ledger.runs(job="old"))), more) == (left, bool(left))


def test_a_result_expires_and_the_state_stays(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS, job=bench.job("short", result=0.05))
    bench.wait_until(lambda: bench.ledger.get(run.id).result_expired)
    after = bench.ledger.get(run.id)
    assert (after.state, after.result) == (State.SUCCESS, None)


def test_live_records_have_no_ttl(bench: Bench) -> None:
    run = bench.submit()
    client, key = bench.ledger.client, f"{bench.ledger.namespace}:run:{run.id}"
    assert client.ttl(key) == -1
    bench.start(run)
    assert client.ttl(key) == -1
    assert client.ttl(f"celery-task-meta-{run.id}") == -1


def test_the_scripts_know_exactly_the_transitions_of_the_model(bench: Bench) -> None:
    """Try every transition from every state, and compare with the model's table."""
    seen: dict[State, set[State]] = {state: set() for state in State}
    moves: dict[str, Callable[[Run, str], object]] = {
        "start": lambda run, _: bench.attempts.start(run.id, bench.claim_of(run), "w2", "job"),
        "succeed": lambda run, token: bench.attempts.succeed(run.id, token, "1"),
        "fail": lambda run, token: bench.attempts.fail(run.id, token, "exception", ERROR),
        "fail_waiting": lambda run, _: bench.attempts.fail_waiting(run.id, bench.claim_of(run), "unknown_job", ERROR),
        "retry": lambda run, token: bench.attempts.retry(run.id, token, 0.0, ERROR),
        "lose": lambda run, token: bench.attempts.lose(run.id, token, {"worker": "w1"}),
        "hand_back": lambda run, token: bench.ledger.script("hand_back", 0, "back", "", token or "none"),
        "revoke": lambda run, _: bench.ledger.revoke(run.id, by="me"),
        "terminate": lambda run, token: (
            bench.ledger.revoke(run.id, by="me", terminate=True),
            bench.attempts.lose(run.id, token, {"worker": "w1"}),
        ),
    }
    for state in State:
        for move in moves.values():
            run, token = bench.at(state)
            move(run, token)
            after = bench.ledger.get(run.id).state
            if after is not state:
                seen[state].add(after)
    assert seen == {state: set(allowed) for state, allowed in TRANSITIONS.items()}


def test_a_celery_client_reads_the_same_state(bench: Bench) -> None:
    def meta(run: Run) -> dict[str, object]:
        held: dict[str, object] = json.loads(
            bench.ledger.client.get(f"celery-task-meta-{run.id}") or '{"status": "PENDING"}'
        )
        return held

    run = bench.submit()
    assert meta(run)["status"] == "PENDING"
    token = bench.start(run)
    assert meta(run)["status"] == "STARTED"
    bench.attempts.retry(run.id, token, 0.0, ERROR)
    assert meta(run)["status"] == "RETRY"
    bench.make_due(run.id)
    bench.attempts.succeed(run.id, bench.start(run), '{"a": []}')
    assert (meta(run)["status"], meta(run)["result"]) == ("SUCCESS", {"a": []})
    revoked = bench.submit()
    bench.ledger.revoke(revoked.id, by="me")
    assert meta(revoked)["status"] == "REVOKED"


def test_a_second_ledger_sees_nothing_of_another_namespace(bench: Bench, other: Ledger) -> None:
    run = bench.submit()
    with pytest.raises(UnknownRun):
        other.get(run.id)
    assert other.runs() == []


@pytest.mark.parametrize("priority", [0, 3, 6, 9])
def test_a_plain_clients_message_is_handed_back_to_where_it_was(bench: Bench, priority: int) -> None:
    client = bench.ledger.client
    key = "celery" if priority == 0 else f"celery\x06\x16{priority}"
    foreign: dict[str, Any] = {
        "headers": {"id": f"plain-{bench.ledger.namespace}", "task": "t"},
        "body": "",
        "properties": {"delivery_info": {}},
    }
    # Other tests use the same list, which has no namespace: only this message is looked for.
    client.rpush(key, json.dumps(foreign))

    def next_message() -> list[str]:
        answer: list[str] = run_script(client, bench.ledger.namespace, "claim", "token", 3000, "w1", package=PACKAGE)
        return answer

    answer = next_message()
    while json.loads(answer[1])["headers"]["id"] != foreign["headers"]["id"]:
        answer = next_message()
    bench.ledger.script("hand_back", 0, "not now", "", "token")
    assert json.loads(text(client.lindex(key, -1))) == foreign
    client.lrem(key, -1, json.dumps(foreign))


@pytest.mark.parametrize("late", ["succeed", "fail", "retry", "lose", "hand_back", "progress"])
def test_the_claim_of_a_second_message_changes_nothing(bench: Bench, late: str) -> None:
    """As after a rollback: the run is STARTED under one live claim, and another one holds a copy of its message."""
    run = bench.submit()
    client, queue = bench.ledger.client, f"{bench.ledger.namespace}:queue:default:5"
    copy = text(client.lindex(queue, 0))
    first = bench.start(run)
    client.lpush(queue, copy)
    second = bench.claim()
    before = bench.ledger.get(run.id)
    attempts: dict[str, Callable[[], object]] = {
        "succeed": lambda: bench.attempts.succeed(run.id, second, "1"),
        "fail": lambda: bench.attempts.fail(run.id, second, "exception", ERROR),
        "retry": lambda: bench.attempts.retry(run.id, second, 0.0, ERROR),
        "lose": lambda: bench.attempts.lose(run.id, second, {"worker": "w2"}),
        "hand_back": lambda: bench.ledger.script("hand_back", 0, "back", "", second),
        "progress": lambda: bench.attempts.progress(run.id, second, 0.5, "half"),
    }
    attempts[late]()
    assert bench.ledger.get(run.id) == before
    assert bench.messages() == []
    assert bench.attempts.succeed(run.id, first, "1")


def test_what_is_held_no_more_is_not_renewed(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    bench.attempts.succeed(run.id, token, "1")
    assert bench.renew(token, "never-held") == [token, "never-held"]
    assert bench.ledger.client.zcard(f"{bench.ledger.namespace}:leases") == 0


def test_ticks_alone_take_back_what_a_dead_worker_held(bench: Bench) -> None:
    """They are so far apart that each looks like the end of a pause of the server."""
    settings = bench.ledger.settings
    ledger = Ledger(bench.ledger.client, replace(settings, worker=replace(settings.worker, lease=0.6)))
    run = bench.submit()
    token = bench.start(run)
    bench.let_leases_end(token, sweep=False)
    bench.pretend_pause()
    ledger.sweep(0.0)
    assert bench.ledger.get(run.id).state is State.STARTED
    bench.pretend_pause()
    ledger.sweep(30.0)
    assert bench.ledger.get(run.id).state is State.RETRY


def test_a_clock_that_was_set_back_does_not_hold_up_the_sweep_for_long(bench: Bench) -> None:
    """As after a failover to a server whose clock is behind: a pause was noted by the time of the former one."""
    sweep = f"{bench.ledger.namespace}:sweep"
    ahead = round((bench.now() + 3600.0) * 1000)
    bench.ledger.client.hset(sweep, mapping={"last": ahead, "hold_until": ahead + round(LEASE * 1000)})
    bench.beat()
    until = float(bench.ledger.client.hget(sweep, "hold_until") or 0) / 1000
    assert bench.now() < until < bench.now() + LEASE + 1.0


def test_a_long_progress_message_is_cut(bench: Bench) -> None:
    run = bench.submit()
    bench.attempts.progress(run.id, bench.start(run), 0.5, "ü" * 100_000)
    progress = bench.ledger.get(run.id).progress
    assert progress is not None
    assert progress["message"] == "ü" * 499 + "…"


def test_a_record_holds_nothing_that_most_records_have(bench: Bench) -> None:
    key = f"{bench.ledger.namespace}:run:{bench.submit().id}"
    held = bench.ledger.client.hgetall(key)
    assert not held.keys() & DEFAULTS.keys()
    other = bench.submit(job=replace(bench.job(runs=7, result=60.0), max_deliveries=9), params={"a": 1})
    held = bench.ledger.client.hgetall(f"{bench.ledger.namespace}:run:{other.id}")
    assert {name: held[name] for name in DEFAULTS if name in held} == {
        **{"params": '{"a":1}', "max_deliveries": "9"},
        **{"keep_result": "60000", "keep_runs": "7"},
    }


def test_a_record_that_says_what_others_leave_out_is_the_same_run(bench: Bench) -> None:
    """Older runners write every field: what they have left in Redis is read, performed, and kept as any other."""
    runs = [bench.submit(), bench.submit()]
    key = f"{bench.ledger.namespace}:run:{runs[0].id}"
    bench.ledger.client.hset(key, mapping={name: str(value) for name, value in DEFAULTS.items()})
    before = bench.ledger.read([run.id for run in runs])
    assert replace(before[0], id="", submitted_at="") == replace(before[1], id="", submitted_at="")
    for run in runs:
        bench.attempts.succeed(run.id, bench.start(run), "1")
    first, second = (bench.ledger.client.hgetall(f"{bench.ledger.namespace}:run:{run.id}") for run in runs)
    assert first.keys() - second.keys() == {"params", "keep_history"}
    results = [bench.ledger.client.pttl(f"celery-task-meta-{run.id}") for run in runs]
    assert results[0] == pytest.approx(results[1], abs=5000)
    ends = [bench.ledger.client.zscore(f"{bench.ledger.namespace}:prunable", run.id) or 0 for run in runs]
    assert ends[0] == pytest.approx(ends[1], abs=5000)


def test_an_answer_that_was_lost_is_given_again_by_the_same_token(bench: Bench) -> None:
    run, other = bench.submit(), bench.submit()
    write_known(bench.ledger, "k", {"job": pack_digest("sha256:0")})
    answers = [bench.ledger.script("take", "", "", "", "t", 3000, "w1", 1, "k", "default") for _ in range(2)]
    assert answers[0] == answers[1]
    assert (answers[0][1], answers[0][2]) == ("go", run.id)
    assert bench.messages() == [other.id]
    bench.ledger.script("take", "", "", "", "t2", 3000, "w1", 1, "k", "default")
    # Also when no message is left that would be claimed.
    again = bench.ledger.script("take", "", "", "", "t2", 3000, "w1", 1, "k", "default")
    assert (again[1], again[2]) == ("go", other.id)
    assert bench.held() == 2
