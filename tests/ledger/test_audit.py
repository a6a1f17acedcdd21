"""Every act of a person is kept with who and when, in the same step as the act itself."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import CannotTerminate
from runner.ledger import pauses
from runner.ledger.audit import note_failed_login, read_acts
from runner.ledger.health.finding import Level
from runner.ledger.health.successes import check_successes
from runner.model.run import State
from tests.support.bench import Bench


def test_acts_are_kept(bench: Bench) -> None:
    ledger = bench.ledger
    run = bench.submit(submitted_by="ann@a")
    ledger.revoke(run.id, by="bob@b", comment="wrong day")
    ledger.revoke(run.id, by="eve@c")  # it had ended already: that did nothing
    again = bench.submit(trigger="rerun", rerun_of=run.id, submitted_by="ann@a")
    bench.start(again)
    ledger.revoke(again.id, by="bob@b", terminate=True)
    ledger.forget(run.id, by="bob@b")
    pauses.pause(ledger, "*", by="ann@a", comment="moving")
    pauses.resume(ledger, "*", by="ann@a")
    pauses.resume(ledger, "*", by="eve@c")  # nothing was paused any more
    entries = [(entry.act, entry.by, entry.job, entry.id, entry.comment) for entry in read_acts(ledger, limit=100)]
    expected = [
        ("submit", "ann@a", "job", run.id, None),
        ("revoke", "bob@b", "job", run.id, "wrong day"),
        ("rerun", "ann@a", "job", again.id, f"of run {run.id}"),
        ("terminate", "bob@b", "job", again.id, None),
        ("forget", "bob@b", "job", run.id, None),
        ("pause", "ann@a", "*", None, "moving"),
        ("resume", "ann@a", "*", None, None),
    ]
    # Several streams: what happened in one millisecond has no order between them.
    assert sorted(entries, key=str) == sorted(expected, key=str)
    acts = [entry[0] for entry in entries]
    assert [act for act in acts if act in ("pause", "resume")] == ["resume", "pause"]
    assert [act for act in acts if act in ("revoke", "terminate")] == ["terminate", "revoke"]
    assert {entry.act for entry in read_acts(ledger, limit=9, by="bob")} == {"revoke", "terminate", "forget"}
    assert {entry.act for entry in read_acts(ledger, limit=9, run_id=run.id)} == {"submit", "revoke", "forget"}
    assert {entry.act for entry in read_acts(ledger, limit=9, job="other")} == {"pause", "resume"}
    assert read_acts(ledger, limit=9, since=bench.now() + 100) == []


def test_what_no_person_did_is_no_act(bench: Bench) -> None:
    for trigger in ("schedule", "cron", "hook", "celery"):
        bench.submit(trigger=trigger)
    assert read_acts(bench.ledger, limit=9) == []


def test_asking_again_is_no_act(bench: Bench) -> None:
    ledger = bench.ledger
    run = bench.submit()
    bench.start(run)
    asked: list[dict[str, Any]] = [
        {},
        {"comment": "again"},
        {"terminate": True},
        {"terminate": True, "signal": "KILL"},
        {"terminate": True, "signal": "INT"},
    ]
    for _ in range(20):
        for by in ("bob@b", "eve@c"):
            for options in asked:
                _, left = ledger.revoke(run.id, by=by, **options)
                assert left
    entries = [(act.act, act.by) for act in read_acts(ledger, limit=100, run_id=run.id) if act.act != "submit"]
    # One for the revocation, and one for each signal.
    assert sorted(entries) == [("revoke", "bob@b"), *[("terminate", "bob@b")] * 3]
    assert ledger.client.hget(f"{ledger.namespace}:terminating", run.id) == "INT"
    events = ledger.client.xlen(f"{ledger.namespace}:events")
    ledger.revoke(run.id, by="eve@c")
    assert ledger.client.xlen(f"{ledger.namespace}:events") == events
    for _ in range(20):
        pauses.pause(ledger, "job", by="ann@a", comment="moving")
        pauses.pause(ledger, "*", by="ann@a")
    assert [act.job for act in read_acts(ledger, limit=100, act="pause")] == ["*", "job"]
    pauses.pause(ledger, "job", by="ann@a", comment="still moving")
    pauses.pause(ledger, "job", by="ann@a", comment="still moving", seconds=60.0)
    assert len(read_acts(ledger, limit=100, act="pause")) == 4
    for _ in range(20):
        pauses.resume(ledger, "job", by="ann@a")
    assert len(read_acts(ledger, limit=100, act="resume")) == 1


@pytest.mark.parametrize("kind", ["submissions", "revocations", "forgotten", "failures"])
def test_no_flood_pushes_out_what_administrators_did(bench: Bench, kind: str) -> None:
    """Whoever may do less than they cannot hide what they did, nor what somebody else did."""
    ledger = bench.ledger
    pauses.pause(ledger, "other", by="me")
    before, _ = bench.end(State.SUCCESS)
    ledger.forget(before.id, by="me")
    waiting = bench.submit(submitted_by="me", trigger="cli")
    ledger.revoke(waiting.id, by="me")
    note_failed_login(ledger, "192.0.2.7")
    acts = {"submissions": "submit", "revocations": "revoke", "forgotten": "forget", "failures": "failed-login"}
    with ledger.client.pipeline(transaction=False) as pipe:
        for _ in range(10_300):
            fields: dict[Any, Any] = {"act": acts[kind], "by": "eve", "job": "job", "id": "x", "comment": ""}
            pipe.xadd(f"{ledger.namespace}:audit-{kind}", fields, maxlen=10_000, approximate=True)
        pipe.execute()
    for act in ("pause", *(act for name, act in acts.items() if name != kind)):
        assert [entry.act for entry in read_acts(ledger, limit=1, act=act)] == [act]


def test_acts_before_there_were_kinds_are_known(bench: Bench) -> None:
    fields: dict[Any, Any] = {"act": "revoke", "by": "bob@b", "job": "job", "id": "x", "comment": ""}
    bench.ledger.client.xadd(f"{bench.ledger.namespace}:audit", fields)
    assert [act.by for act in read_acts(bench.ledger, limit=9, act="revoke")] == ["bob@b"]


def test_submissions_push_no_other_act_out_and_all_is_bounded(bench: Bench) -> None:
    pauses.pause(bench.ledger, "other", by="me")
    key = f"{bench.ledger.namespace}:audit-submissions"
    with bench.ledger.client.pipeline(transaction=False) as pipe:
        for _ in range(10_300):
            pipe.xadd(key, {"act": "submit", "by": "", "job": "job", "id": "x", "comment": ""})
        pipe.execute()
    bench.submit()
    assert 10_000 <= bench.ledger.client.xlen(key) < 10_301
    assert [act.act for act in read_acts(bench.ledger, limit=20_000, act="pause")] == ["pause"]
    assert len(read_acts(bench.ledger, limit=5000)) == 5000


def test_a_long_comment_is_cut_between_characters(bench: Bench) -> None:
    for comment in ("é" * 400, "x" + "é" * 400, "€" * 300, "x" * 600):
        run = bench.submit()
        bench.ledger.revoke(run.id, by="me", comment=comment)
        [act] = read_acts(bench.ledger, limit=9, run_id=run.id, act="revoke")
        assert act.comment is not None
        assert comment.startswith(act.comment)
        assert 497 <= len(act.comment.encode()) <= 500


def test_jobs_that_have_not_succeeded_in_time(bench: Bench) -> None:
    ledger, long, short = bench.ledger, 1000.0, 0.001

    def levels(**deadlines: float) -> list[Level]:
        return [finding.level for finding in check_successes(ledger, deadlines)]

    assert levels() == []
    assert levels(job=long) == [Level.WARNING]  # it has never run
    run, _ = bench.end(State.FAILURE)
    bench.wait_past(run.submitted_at, 0.01)
    assert levels(job=long) == [Level.OK]
    assert levels(job=short) == [Level.PROBLEM]
    bench.end(State.SUCCESS)
    assert levels(job=long) == [Level.OK]
    before = ledger.client.hget(f"{ledger.namespace}:succeeded", "job")
    bench.wait_until(lambda: bench.now() * 1000 > int(before or 0) + 5)
    [finding] = check_successes(ledger, {"job": short})
    assert "has not succeeded since" in finding.what
    assert levels(job=short, other=long) == [Level.PROBLEM, Level.WARNING]
    pauses.pause(ledger, "job", by="me")
    assert levels(job=short) == []


def test_a_pool_that_cannot_end_a_run_is_named_each_time_and_is_one_act(bench: Bench) -> None:
    run = bench.submit()
    bench.start(run)
    bench.beat()
    bench.ledger.client.hset(bench.ledger.keys.worker("w1"), "pool", "again and again")
    for _ in range(2):
        with pytest.raises(CannotTerminate, match=f"run {run.id} is running in a again and again pool"):
            bench.ledger.revoke(run.id, by="bob@b", terminate=True)
    assert bench.ledger.get(run.id).state is State.STARTED
    assert [act.act for act in read_acts(bench.ledger, limit=9, by="bob")] == ["revoke"]
