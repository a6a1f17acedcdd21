"""The log of a run as it is read: from any place on, and through lost connections."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.errors import Unavailable
from runner.ledger import run_log
from runner.ledger.reading import get_run
from runner.ledger.run_log import RunLog
from runner.ledger.store import Store
from runner.model.run import Run
from tests.support.bench import Bench


def append(log: RunLog, number: int, *words: str, attempt: int = 1) -> str:
    return log.append(attempt, number, json.dumps([[0, None, word] for word in words]).encode(), [])


def texts(log: RunLog) -> list[str]:
    return [line.text for line in log.lines()]


def test_a_chunk_whose_answer_was_lost_is_there_once(bench: Bench) -> None:
    run = bench.submit()
    log, reader = RunLog(bench.ledger, run.id), RunLog(bench.ledger, run.id)
    append(log, 1, "a", "b")
    assert texts(reader) == ["a", "b"]
    append(log, 1, "a", "b", "c")
    append(log, 4, "d")
    assert texts(reader) == ["c", "d"]
    assert texts(RunLog(bench.ledger, run.id)) == ["a", "b", "c", "d"]


def test_what_was_read_before_is_no_gap(bench: Bench) -> None:
    run = bench.submit()
    log = RunLog(bench.ledger, run.id)
    middle = append(log, 1, "a", "b")
    append(log, 3, "c")
    append(log, 6, "d")
    append(log, 1, "e", attempt=2)
    rest = ["c", "… 2 lines are not kept …", "d", "e"]
    assert texts(log) == ["a", "b", *rest]
    assert texts(RunLog(bench.ledger, run.id, after=middle)) == rest


def test_following_outlives_lost_connections(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    run = bench.submit()
    token = bench.start(run)
    log = RunLog(bench.ledger, run.id)
    append(log, 1, "a")
    calls = iter(range(1000))

    def breaks(store: Store, run_id: str) -> Run:
        match next(calls):
            case 1:
                append(log, 2, "b")
                raise Unavailable("gone")
            case 3:
                append(log, 3, "c")
                bench.attempts.succeed(run.id, token, "1")
        return get_run(store, run_id)

    monkeypatch.setattr(run_log, "get_run", breaks)
    assert [line.text for line in RunLog(bench.ledger, run.id).follow()] == ["a", "b", "c"]


def test_a_log_that_cannot_be_reached_at_all_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> Any:
        raise Unavailable("gone")

    monkeypatch.setattr(run_log, "get_run", gone)
    with pytest.raises(Unavailable):
        next(RunLog(bench.ledger, "any").follow())
