"""Runs are found by what is known of them: every page once, in order, with bounded work."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from runner.errors import UsageError
from runner.ledger.ledger import Ledger
from runner.ledger.search import search
from runner.model.run import Run, State
from runner.model.run_query import RunQuery
from tests.support.answers import encodable
from tests.support.bench import Bench


def write_runs(ledger: Ledger, count: int, spread: int) -> list[tuple[int, str, dict[str, str]]]:
    """Write finished runs straight into Redis, many of them in the same millisecond; return them newest first."""
    rng, prefix = random.Random(7), ledger.namespace
    made = []
    with ledger.client.pipeline(transaction=False) as pipe:
        for number in range(count):
            run_id, at = str(uuid.UUID(int=rng.getrandbits(128))), 1_700_000_000_000 + rng.randrange(spread)
            state = rng.choice(("SUCCESS", "FAILURE", "REVOKED"))
            record = {
                "job": rng.choice(("a", "b")),
                "state": state,
                "queue": "default",
                "priority": "5",
                "submitted_at": str(at),
                "started_at": str(at),
                "finished_at": str(at + number),
                "trigger": rng.choice(("cli", "schedule")),
                "worker": rng.choice(("w@one", "w@two")),
                "tags": json.dumps(rng.sample(["x", "y", "zü"], 2)),
                "key": f"k{number}",
            }
            if state != "SUCCESS":
                record["reason"] = {"FAILURE": "timeout", "REVOKED": "expired"}[state]
            if state == "FAILURE":
                error = {"type": "OSError", "message": rng.choice(("Disk is Füll", "no route")), "traceback": None}
                record["error"] = json.dumps(error)
            pipe.hset(f"{prefix}:run:{run_id}", mapping=encodable(record))
            pipe.zadd(f"{prefix}:state:{state}", {run_id: at})
            pipe.zadd(f"{prefix}:job:{record['job']}:{state}", {run_id: at})
            made.append((at, run_id, record))
        pipe.execute()
    return sorted(made, key=lambda entry: entry[:2], reverse=True)


CASES: list[tuple[dict[str, Any], Callable[[dict[str, str]], bool]]] = [
    ({}, lambda record: True),
    ({"job": "a"}, lambda record: record["job"] == "a"),
    ({"state": [State.FAILURE, State.REVOKED]}, lambda record: record["state"] != "SUCCESS"),
    ({"reason": "expired"}, lambda record: record.get("reason") == "expired"),
    ({"tag": "zü", "job": "b"}, lambda record: "zü" in json.loads(record["tags"]) and record["job"] == "b"),
    ({"worker": "two"}, lambda record: record["worker"] == "w@two"),
    ({"worker": "w@one"}, lambda record: record["worker"] == "w@one"),
    ({"trigger": "schedule"}, lambda record: record["trigger"] == "schedule"),
    ({"key": "k7"}, lambda record: record["key"] == "k7"),
    ({"grep": "disk IS fü"}, lambda record: "Disk is Füll" in json.loads(record.get("error", '""')).get("message", "")
     if record.get("error") else False),
    ({"grep": "DISK IS FÜ"}, lambda record: "Füll" in json.loads(record.get("error", "{}")).get("message", "")),
    ({"grep": ""}, lambda record: "error" in record),
    ({"since": 1_700_000_000.02}, lambda record: int(record["submitted_at"]) >= 1_700_000_000_020),
    ({"until": 1_700_000_000.02}, lambda record: int(record["submitted_at"]) <= 1_700_000_000_020),
    ({"state": [State.PENDING]}, lambda record: False),
    ({"state": [State.SUCCESS], "reason": "expired"}, lambda record: False),
]  # fmt: skip


@pytest.fixture
def runs(bench: Bench) -> list[tuple[int, str, dict[str, str]]]:
    return write_runs(bench.ledger, 700, spread=40)


def test_every_condition_and_every_page(bench: Bench, runs: list[tuple[int, str, dict[str, str]]]) -> None:
    for options, fits in CASES:
        expected = [run_id for _, run_id, record in runs if fits(record)]
        for order in ("newest", "oldest"):
            wanted = expected if order == "newest" else expected[::-1]
            for limit in (1000, 37):
                found, cursor, pages = [], None, 0
                while True:
                    page = search(bench.ledger, RunQuery(sort=order, **options), limit=limit, cursor=cursor)
                    assert len(page.runs) <= limit
                    assert not page.cut
                    found += [run.id for run in page.runs]
                    pages += 1
                    cursor = page.cursor
                    if cursor is None:
                        break
                assert found == wanted, (options, order, limit)
                assert pages <= len(wanted) // limit + 2


def test_one_page_looks_at_so_many_and_says_how_far_it_came(
    bench: Bench, runs: list[tuple[int, str, dict[str, str]]]
) -> None:
    oldest = runs[-1][2]["key"]
    cursor, looked, pages = None, 0, 0
    while True:
        page = search(bench.ledger, RunQuery(key=oldest), limit=5, cursor=cursor, look=60)
        looked, pages, cursor = looked + page.looked_at, pages + 1, page.cursor
        assert page.looked_at <= 60
        if page.runs:
            break
        assert page.cut
        assert page.reached == runs[looked - 1][0]
    assert [run.id for run in page.runs] == [runs[-1][1]]
    assert (looked, pages) == (700, 12)


def test_longest_first(bench: Bench, runs: list[tuple[int, str, dict[str, str]]]) -> None:
    by_time = sorted(runs, key=lambda entry: int(entry[2]["finished_at"]) - entry[0], reverse=True)
    page = search(bench.ledger, RunQuery(sort="longest"), limit=9)
    assert [run.id for run in page.runs] == [run_id for _, run_id, _ in by_time[:9]]


def test_a_run_that_expires_while_it_is_looked_for_is_no_pending_one(bench: Bench) -> None:
    late, kept = bench.submit(expires=1000.0), bench.submit()
    bench.make_expire(late.id)
    assert [run.id for run in search(bench.ledger, RunQuery(state=[State.PENDING]), limit=9).runs] == [kept.id]


def test_runs_that_come_and_go_while_pages_are_turned(bench: Bench) -> None:
    first = [bench.submit() for _ in range(6)]
    page = search(bench.ledger, RunQuery(), limit=3)
    assert page.cursor is not None
    gone = {page.cursor.partition(":")[2]}
    newer = bench.submit()
    for run in first:
        if run.id in gone:
            bench.ledger.revoke(run.id, by=None)
            bench.ledger.forget(run.id)
    rest = search(bench.ledger, RunQuery(), limit=9, cursor=page.cursor)
    shown: list[Run] = [*page.runs, *rest.runs]
    assert {run.id for run in shown} == {run.id for run in first}
    assert len(shown) == len(first)
    assert newer.id not in {run.id for run in shown}


@pytest.mark.parametrize("cursor", ["", "x", "1", "1:", ":a", "-1:a", "1e3:a", "9" * 40 + ":a"])
def test_what_is_no_cursor_is_refused(bench: Bench, cursor: str) -> None:
    with pytest.raises(UsageError):
        search(bench.ledger, RunQuery(), limit=1, cursor=cursor)


def test_the_work_of_a_page_does_not_grow_with_the_ledger(bench: Bench) -> None:
    write_runs(bench.ledger, 3000, spread=10_000)
    page = search(bench.ledger, RunQuery(), limit=20)
    assert page.looked_at == 20
