"""A run goes into its row and comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.archive.rows import clean, read_log, row_of, run_of, write_log
from runner.model.log_line import LogLine
from runner.model.run import DamagedRun, Run, State

RUN = Run(
    id="3f2a9c41-0000-4000-8000-000000000001",
    job="report",
    state=State.SUCCESS,
    params={"day": "2026-11-23", "größe": [1, None]},
    result={"ok": True, "text": "naïve 日本"},
    tags=["finance"],
    submitted_at="2026-11-23T02:00:00.000Z",
    started_at="2026-11-23T02:00:01.500Z",
    finished_at="2026-11-23T02:00:03.001Z",
)


def lines(count: int, text: str = "line") -> list[LogLine]:
    return [LogLine(1000 + number, 1, None, f"{text} {number}") for number in range(count)]


def test_a_run_comes_back_as_it_was() -> None:
    row = row_of(RUN)
    assert run_of(row["document"]) == RUN
    assert json.loads(row["document"]) == RUN.document()
    assert row["took_ms"] == 1501
    assert json.loads(row["result"]) == RUN.result
    assert "naïve 日本" in row["result"]
    assert row["submitted_at"].isoformat() == "2026-11-23T02:00:00+00:00"


def test_a_damaged_run_stays_damaged() -> None:
    damaged = DamagedRun.of(Run(id="x", job="?", state=State.FAILURE), "state is 'odd'")
    row = row_of(damaged)
    assert run_of(row["document"]) == damaged
    # Lists are in the order of times that are there.
    assert row["submitted_at"] == row["finished_at"]


def test_a_result_of_null_is_not_one_that_is_gone() -> None:
    fields: dict[str, Any] = {"id": "x", "job": "j", "state": State.SUCCESS}
    assert row_of(Run(**fields))["result"] == "null"
    assert row_of(Run(**fields, result_expired=True))["result"] is None


def test_what_a_newer_version_wrote_is_left_out() -> None:
    assert run_of({**RUN.document(), "novel": 1}) == RUN


@pytest.mark.parametrize("text", ["a\0b", "\ud800 alone", "a\0\udfff"])
def test_text_that_a_database_refuses_is_cleaned(text: str) -> None:
    cleaned = clean(text)
    assert cleaned is not None
    assert "\0" not in cleaned
    cleaned.encode()
    row = row_of(Run(id="x", job="j", state=State.SUCCESS, detail=text, result={"deep": [text]}, params={text: text}))
    for value in row.values():
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()


def test_a_log_that_fits_is_kept_whole() -> None:
    assert read_log(write_log(lines(50))) == lines(50)
    assert write_log([]) == ""
    assert read_log("") == []
    odd = [LogLine(1, 1, "INFO", "two\nlines \u2028 and\r\n more"), LogLine(2, 2, None, "", cut=3)]
    assert read_log(write_log(odd)) == odd


def test_of_a_long_log_the_end_is_kept() -> None:
    text = write_log(lines(100), most=500)
    kept = read_log(text)
    assert len(text.encode()) <= 600
    assert kept[1:] == lines(100)[-(len(kept) - 1) :]
    assert kept[0].cut == 100 - (len(kept) - 1)
    assert kept[0].text == f"… {kept[0].cut} lines are not kept …"


@pytest.mark.parametrize("text", ["x" * 5000, "\x01" * 5000, "日" * 5000])
def test_of_a_line_that_is_too_long_the_end_is_kept(text: str) -> None:
    kept = read_log(written := write_log([*lines(3), LogLine(9, 1, None, text)], most=1000))
    assert len(written.encode()) <= 1100
    assert kept[0].cut == 3
    assert kept[1].text == f"…{text[-125:]}"
