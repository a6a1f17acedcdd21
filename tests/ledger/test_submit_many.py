"""A batch of submissions: one step, and in it each run is made as it would be alone."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from runner.errors import JobPaused, KeyConflict
from runner.ledger.audit import read_acts
from runner.ledger.batch import Batch
from runner.ledger.ledger import Ledger
from runner.ledger.pauses import pause
from runner.ledger.submission import Entry, Submission, Submitted
from runner.model.concurrency import Concurrency
from runner.model.hooks import Hook, Hooks, Unique
from runner.model.job import JobSpec
from runner.model.rate import Rate
from runner.model.require import Require
from runner.model.run import State
from tests.support.answers import text
from tests.support.bench import Bench

PLAIN = JobSpec(name="job", task="m:a", digest="sha256:0")
JOBS: dict[str, JobSpec] = {
    "plain": PLAIN,
    "with tags and hooks": replace(PLAIN, tags=("a", "b"), hooks=Hooks(failure=(Hook(job="page", after=2),))),
    "unique": replace(PLAIN, unique=Unique(for_=3600.0, by=("n",))),
    "at most once": replace(PLAIN, delivery="at_most_once", max_deliveries=5),
    **{
        f"concurrency, {policy}": replace(PLAIN, concurrency=Concurrency(limit=2, policy=policy, key="${params.n}"))
        for policy in ("queue", "skip", "replace")
    },
    "requires": replace(PLAIN, require=(Require(job="other", within=3600.0),)),
    "rate": replace(PLAIN, rate=Rate(limit=2, per=3600.0, key="${params.n}")),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "now": {},
    "later": {"delay": 3600.0, "expires": 60.0},
    "at a time": {"eta": 4102444800.0},
    "elsewhere": {"queue": "other", "priority": 9, "expires": 3600.0},
    "as a plain job": {"trigger": "api", "submitted_by": "ann@host"},
}
PARAMS: list[dict[str, Any]] = [{"n": 1}, {"n": 1, "text": 'ü\n"%s" ${x}'}, {"n": 2}, {"n": 1}, {"n": 1}]


def common(job: JobSpec, **options: Any) -> Submission:
    return Submission(
        **{"id": "", "job": job, "params": {}, "queue": "default", "priority": 5, "trigger": "cli", **options}
    )


def entries(*params: dict[str, Any], key: Callable[[dict[str, Any]], str] | None = None) -> list[Entry]:
    return [Entry(str(uuid.uuid4()), param, key(param) if key else None) for param in params]


def made(bench: Bench, job: JobSpec, batch: list[Entry], **options: Any) -> list[Any]:
    return Batch(bench.ledger, common(job, **options), batch).outcomes()[0]


def everything(ledger: Ledger, ids: list[str]) -> dict[str, Any]:
    """Return all that a namespace holds, without what differs from one time to the next."""
    client = ledger.client
    readers: dict[str, Callable[[str], Any]] = {
        "string": lambda key: said(client.get(key)),
        "hash": lambda key: sorted(map(said, client.hgetall(key).items())),
        "list": lambda key: [said(element) for element in client.lrange(key, 0, -1)],
        "set": lambda key: sorted(client.smembers(key)),
        "zset": lambda key: sorted(map(said, client.zrange(key, 0, -1))),
        "stream": lambda key: [said(fields) for _, fields in client.xrange(key) or []],
    }

    def said(value: Any) -> str:
        text = str(value).replace(ledger.namespace, "NS")
        for number, run_id in enumerate(ids):
            text = text.replace(run_id, f"run {number}")
        return re.sub(r"(?<!\d)1\d{12}(?!\d)", "TIME", text)

    keys = [key for key in client.scan_iter(f"{ledger.namespace}:*") if ":audit" not in key and ":ring:" not in key]
    return {said(key): readers[text(client.type(key))](key) for key in keys}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", JOBS)
def test_a_batch_leaves_what_single_submissions_leave(bench: Bench, other: Ledger, name: str, options: str) -> None:
    job, asked = JOBS[name], OPTIONS[options]
    batch = entries(*PARAMS, key=lambda params: f"{params['n']}" if "text" not in params else "text")
    singly = [other.submit(common(job, **asked, id=entry.id, params=entry.params, key=entry.key)) for entry in batch]
    expected = everything(other, [entry.id for entry in batch])
    for entry in batch:
        other.client.delete(f"celery-task-meta-{entry.id}")
    together = made(bench, job, batch, **asked)
    assert [(outcome.id, outcome.duplicate) for outcome in together] == [
        (outcome.id, outcome.duplicate) for outcome in singly
    ]
    assert everything(bench.ledger, [entry.id for entry in batch]) == expected


def test_messages_wait_in_the_order_of_the_batch(bench: Bench) -> None:
    batch = entries(*({"n": n} for n in range(500)))
    made(bench, PLAIN, batch)
    assert bench.messages() == [entry.id for entry in batch]
    assert bench.claimed_id() == batch[0].id


def test_the_same_key_twice_in_a_batch_is_one_run(bench: Bench) -> None:
    batch = [*entries({"n": 1}, key=lambda _: "k"), *entries({"n": 1}, {"n": 2}, key=lambda _: "k")]
    first, second, third = made(bench, PLAIN, batch)
    assert (first.id, first.duplicate) == (batch[0].id, False)
    assert (second.id, second.duplicate) == (batch[0].id, True)
    assert isinstance(third, KeyConflict)
    assert batch[0].id in third.message
    assert bench.messages() == [batch[0].id]


def test_the_same_batch_again_makes_nothing(bench: Bench) -> None:
    batch = entries({"n": 1}, {"n": 2})
    for _ in range(2):
        assert [(outcome.id, outcome.duplicate) for outcome in made(bench, PLAIN, batch)] == [
            (e.id, False) for e in batch
        ]
    assert bench.messages() == [entry.id for entry in batch]


def test_a_paused_job_refuses_new_runs_and_knows_the_old_ones(bench: Bench) -> None:
    known = entries({"n": 1}, key=lambda _: "1")
    made(bench, PLAIN, known)
    pause(bench.ledger, "job", by="ann", comment="a change")
    new = entries({"n": 2}, key=lambda _: "2")
    old, refused = made(bench, PLAIN, [*entries({"n": 1}, key=lambda _: "1"), *new])
    assert (old.id, old.duplicate) == (known[0].id, True)
    assert isinstance(refused, JobPaused)
    assert "a change" in refused.message
    assert bench.leftovers(new[0].id) == []
    forced = entries({"n": 3})
    assert isinstance(made(bench, PLAIN, forced, forced=True)[0], Submitted)
    assert bench.messages()[-1] == forced[0].id


def test_the_audit_log_has_one_entry_for_a_batch(bench: Bench) -> None:
    batch = entries(*({"n": n} for n in range(20)))
    made(bench, PLAIN, batch, submitted_by="ann@host")
    made(bench, PLAIN, entries({"n": 1}), submitted_by="ann@host")
    single, whole = read_acts(bench.ledger, limit=10)
    assert (whole.act, whole.by, whole.job, whole.id) == ("submit", "ann@host", "job", batch[0].id)
    assert whole.comment == "the first of 20 runs"
    assert single.comment is None


def test_watchers_are_told_of_each_run(bench: Bench) -> None:
    batch = entries(*({"n": n} for n in range(20)))
    made(bench, PLAIN, batch)
    events = [fields or {} for _, fields in bench.ledger.client.xrange(f"{bench.ledger.namespace}:events") or []]
    assert [(fields["id"], fields["state"]) for fields in events] == [(entry.id, "PENDING") for entry in batch]


def test_every_run_is_counted(bench: Bench) -> None:
    made(bench, PLAIN, entries({"n": 1}, {"n": 2}))
    held = bench.ledger.client.hgetall(f"{bench.ledger.namespace}:metrics")
    assert held == {"submissions job cli": "2"}


def test_they_can_be_read_and_run_like_any_other(bench: Bench) -> None:
    batch = entries({"n": 1}, {"n": 2})
    made(bench, PLAIN, batch)
    runs = bench.ledger.get_many([entry.id for entry in batch])
    assert [(run.state, run.params, run.trigger) for run in runs] == [(State.PENDING, {"n": n}, "cli") for n in (1, 2)]
    token = bench.start(runs[1])
    bench.attempts.succeed(runs[1].id, token, "1")
    assert bench.ledger.get(runs[1].id).state is State.SUCCESS


def test_an_empty_batch_asks_nobody(bench: Bench) -> None:
    assert Batch(bench.ledger, common(PLAIN), []).outcomes() == ([], None)
