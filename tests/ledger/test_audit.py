"""Every act of a person is kept with who and when, in the same step as the act itself."""

from __future__ import annotations

from runner.ledger import pauses
from runner.ledger.audit import read_acts
from runner.ledger.health.finding import Level
from runner.ledger.health.successes import check_successes
from runner.model.run import State
from tests.ledger.conftest import Bench


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
    told = [(each.act, each.by, each.job, each.id, each.comment) for each in read_acts(ledger, limit=100)]
    expected = [
        ("submit", "ann@a", "job", run.id, None),
        ("revoke", "bob@b", "job", run.id, "wrong day"),
        ("rerun", "ann@a", "job", again.id, f"of run {run.id}"),
        ("terminate", "bob@b", "job", again.id, None),
        ("forget", "bob@b", "job", run.id, None),
        ("pause", "ann@a", "*", None, "moving"),
        ("resume", "ann@a", "*", None, None),
    ]
    # Two streams: what happened in one millisecond has no order between them.
    assert sorted(told, key=str) == sorted(expected, key=str)
    acts = [each[0] for each in told]
    assert [act for act in acts if act not in ("submit", "rerun")] == [
        "resume",
        "pause",
        "forget",
        "terminate",
        "revoke",
    ]
    assert [each.act for each in read_acts(ledger, limit=1)] == ["resume"]
    assert {each.act for each in read_acts(ledger, limit=9, by="bob")} == {"revoke", "terminate", "forget"}
    assert {each.act for each in read_acts(ledger, limit=9, run_id=run.id)} == {"submit", "revoke", "forget"}
    assert {each.act for each in read_acts(ledger, limit=9, job="other")} == {"pause", "resume"}
    assert read_acts(ledger, limit=9, since=bench.now() + 100) == []


def test_what_no_person_did_is_no_act(bench: Bench) -> None:
    for trigger in ("schedule", "cron", "hook", "celery"):
        bench.submit(trigger=trigger)
    assert read_acts(bench.ledger, limit=9) == []


def test_submissions_push_no_other_act_out_and_all_is_bounded(bench: Bench) -> None:
    pauses.pause(bench.ledger, "other", by="me")
    key = f"{bench.ledger.namespace}:audit-submissions"
    with bench.ledger.client.pipeline(transaction=False) as pipe:
        for _ in range(10_300):
            pipe.xadd(key, {"act": "submit", "by": "", "job": "job", "id": "x", "comment": ""})
        pipe.execute()
    bench.submit()
    assert 10_000 <= bench.ledger.client.xlen(key) < 10_301
    assert [each.act for each in read_acts(bench.ledger, limit=20_000, act="pause")] == ["pause"]
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
