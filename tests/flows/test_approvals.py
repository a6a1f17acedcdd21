"""Approvals in the ledger: one answer counts, no matter who gives it when; other runs are refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runner.errors import NotWaiting, UnknownRun
from runner.ledger.approvals import answer_approval
from runner.ledger.audit import read_acts
from runner.ledger.ledger import Ledger
from runner.model.run import State
from tests.support.bench import Bench
from tests.support.flows import FlowBench

STEPS: dict[str, Any] = {
    "before": {"task": "m:f"},
    "ask": {"needs": ["before"], "approval": {}},
    "after": {"needs": ["ask"], "task": "m:f"},
    "alarm": {"needs": ["ask"], "when": "failed", "task": "m:f"},
}


def waiting(bench: Bench, **job: Any) -> tuple[FlowBench, str, str]:
    """Return a flow that waits for its approval, and the run of that."""
    flows = FlowBench(bench, {"flow": {"steps": STEPS, **job}})
    flow = flows.run()
    flows.work()
    asked = flows.of(flow, "ask")
    assert (asked.state, asked.detail) == (State.PENDING, "waits for approval")
    return flows, flow, asked.id


def test_an_approval_is_a_success_that_says_who_gave_it(bench: Bench) -> None:
    flows, flow, asked = waiting(bench)
    done = answer_approval(flows.ledger, asked, approved=True, by="ann@host", comment="go")
    assert (done.state, done.result) == (State.SUCCESS, {"approved_by": "ann@host", "comment": "go"})
    assert flows.outbox() == [flow]
    flows.drain()
    flows.work()
    assert flows.get(flow).state is State.SUCCESS
    assert flows.steps(flow)["alarm"] is State.REVOKED
    [act] = read_acts(flows.ledger, limit=10, act="approve")
    assert (act.by, act.job, act.id, act.comment) == ("ann@host", "flow/ask", asked, "go")


def test_a_rejection_says_who_gave_it_and_fails_the_flow(bench: Bench) -> None:
    flows, flow, asked = waiting(bench)
    done = answer_approval(flows.ledger, asked, approved=False, by="ann@host", comment="too early")
    assert (done.state, done.reason) == (State.REVOKED, "rejected")
    assert done.revocation is not None
    assert (done.revocation["by"], done.revocation["comment"]) == ("ann@host", "too early")
    flows.drain()
    flows.work()
    assert (flows.get(flow).state, flows.get(flow).reason) == (State.FAILURE, "step_failed")
    assert flows.steps(flow) == {
        "before": State.SUCCESS,
        "ask": State.REVOKED,
        "after": State.REVOKED,
        "alarm": State.SUCCESS,
    }
    assert [act.act for act in read_acts(flows.ledger, limit=10) if act.id == asked] == ["reject"]


def test_of_many_answers_at_once_one_counts(bench: Bench) -> None:
    flows, flow, asked = waiting(bench)
    refused: list[str] = []

    def answer(number: int) -> None:
        ledger = Ledger.open(flows.ledger.settings)
        try:
            answer_approval(ledger, asked, approved=number % 2 == 0, by=f"p{number}", comment=None)
        except NotWaiting as error:
            refused.append(error.message)
        finally:
            ledger.close()

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    assert len([act for act in read_acts(flows.ledger, limit=20) if act.id == asked]) == 1
    flows.drain()
    flows.work()
    assert flows.get(flow).final


def test_an_answer_that_comes_too_late_is_refused(bench: Bench) -> None:
    flows, flow, asked = waiting(bench)
    flows.ledger.revoke(flow, by="bob")
    flows.drain()
    assert flows.of(flow, "ask").state is State.REVOKED
    with pytest.raises(NotWaiting, match="it is REVOKED"):
        answer_approval(flows.ledger, asked, approved=True, by="ann", comment=None)
    assert flows.get(flow).state is State.REVOKED


def test_what_is_no_approval_is_refused(bench: Bench) -> None:
    flows, flow, _ = waiting(bench)
    with pytest.raises(NotWaiting, match="waits for its steps"):
        answer_approval(flows.ledger, flow, approved=True, by="ann", comment=None)
    with pytest.raises(NotWaiting, match="is no approval"):
        answer_approval(flows.ledger, flows.of(flow, "before").id, approved=True, by="ann", comment=None)
    with pytest.raises(UnknownRun):
        answer_approval(flows.ledger, "no-such-run", approved=True, by="ann", comment=None)


def test_a_long_comment_is_cut(bench: Bench) -> None:
    flows, _, asked = waiting(bench)
    done = answer_approval(flows.ledger, asked, approved=True, by="ann", comment="é" * 5000)
    assert len(done.result["comment"]) <= 501
