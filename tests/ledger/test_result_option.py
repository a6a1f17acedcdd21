"""What is stored of a result: keys convert as values do, nothing is lost in silence, and ``result:`` is obeyed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.ledger.outcome import ResultNotKept, shape_result, write_result
from tests.support.project import Project, write_project
from tests.support.servers import Server

LIMIT = 1024


class Color(Enum):
    RED = "red"
    ONE = 1
    DAY = date(2026, 11, 23)


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    ONE = "one"


CONVERTED: dict[Any, str] = {
    date(2026, 11, 23): "2026-11-23",
    datetime(2026, 11, 23, 2, tzinfo=UTC): "2026-11-23T02:00:00+00:00",
    time(2, 30): "02:30:00",
    Decimal("1.10"): "1.10",
    UUID(int=1): "00000000-0000-0000-0000-000000000001",
    PurePosixPath("/a/b"): "/a/b",
    Path("c"): "c",
    Color.RED: "red",
    Word.ONE: "one",
    "text": "text",
    Color.DAY: "2026-11-23",
}
KEYS_ALONE: list[tuple[Any, str]] = [
    (Color.ONE, "1"),
    (Number.ONE, "1"),
    (2, "2"),
    (True, "true"),
    (None, "null"),
    (1.5, "1.5"),
    (10**20, "100000000000000000000"),
]


@pytest.mark.parametrize("value", CONVERTED, ids=repr)
def test_a_key_becomes_what_the_value_becomes(value: Any) -> None:
    assert json.loads(write_result(value, LIMIT)) == CONVERTED[value]
    both = {CONVERTED[value]: CONVERTED[value]}
    assert json.loads(write_result({value: value}, LIMIT)) == both
    assert json.loads(write_result([({value: value},)], LIMIT)) == [[both]]
    assert json.loads(write_result({Color.RED: {value: value}}, LIMIT)) == {"red": both}


@pytest.mark.parametrize(("key", "text"), KEYS_ALONE, ids=repr)
def test_other_plain_keys_become_text(key: Any, text: str) -> None:
    assert json.loads(write_result([{key: 0}], LIMIT)) == [{text: 0}]


@pytest.mark.parametrize(
    ("mapping", "same"),
    [
        ({1: "a", "1": "b"}, "'1'"),
        ({True: "a", "true": "b"}, "'true'"),
        ({None: "a", "null": "b"}, "'null'"),
        ({1.0: "a", "1.0": "b"}, "'1.0'"),
        ({Color.ONE: "a", 1: "b"}, "'1'"),
        ({Color.ONE: "a", Number.ONE: "b"}, "'1'"),
        ({date(2026, 11, 23): "a", "2026-11-23": "b"}, "'2026-11-23'"),
        ({UUID(int=1): "a", str(UUID(int=1)): "b"}, "00000000"),
        ({PurePosixPath("a"): 1, "a": 2}, "'a'"),
        ({Decimal("1"): 1, "1": 2}, "'1'"),
        ({"\udce9": 1, "\\udce9": 2}, "udce9"),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "around", [lambda mapping: mapping, lambda mapping: [{"deep": (mapping,)}]], ids=["top", "deep"]
)
def test_keys_that_become_the_same_are_refused(mapping: Any, same: str, around: Callable[[Any], Any]) -> None:
    with pytest.raises(ResultNotKept, match=same) as refused:
        write_result(around(mapping), LIMIT)
    assert "option result" in str(refused.value)


class Holder(Enum):
    BOTH = {1: "a", "1": "b"}  # noqa: RUF012


UNKEEPABLE: dict[str, Any] = {
    "an object": object(),
    "a tuple as a key": {(1, 2): 3},
    "bytes": b"x",
    "bytes as a key": {b"x": 1},
    "nan": float("nan"),
    "nan as a key": {float("nan"): 1},
    "a function": len,
    "a collision behind an enum": Holder.BOTH,
    "too large": "x" * (LIMIT + 1),
    "too deep": json.loads("[" * 100 + "]" * 100),
    "a generator": iter(list[str]()),
}


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("name", UNKEEPABLE)
def test_what_cannot_be_kept_names_the_option(name: str) -> None:
    with pytest.raises(ResultNotKept, match="option result to drop or repr"):
        write_result(shape_result(UNKEEPABLE[name], "keep", LIMIT), LIMIT)
    assert shape_result(UNKEEPABLE[name], "drop", LIMIT) is None
    shown = shape_result(UNKEEPABLE[name], "repr", LIMIT)
    assert repr(UNKEEPABLE[name]).startswith(shown.rstrip("…")[:50])
    assert len(write_result(shown, LIMIT)) <= LIMIT


def test_repr_keeps_what_is_json_and_masks_before_it_cuts() -> None:
    assert shape_result({"a": [1]}, "repr", LIMIT) == {"a": [1]}
    assert "cannot be shown" in shape_result(Hostile(), "repr", LIMIT)
    secret = "s3cret" * 3
    shown = shape_result(
        [object(), "x" * (LIMIT - 40), secret], "repr", LIMIT, lambda text: text.replace(secret, "***")
    )
    assert "s3c" not in shown


@given(st.text(min_size=1, max_size=400), st.integers(20, 400))
def test_a_text_that_stands_for_a_result_fits(text: str, limit: int) -> None:
    class Shown:
        def __repr__(self) -> str:
            return text

    shown = shape_result(Shown(), "repr", limit)
    assert len(json.dumps(shown)) <= limit
    assert shown == text or shown.endswith("…")


JOBS = {
    f"{what}-{option}": {"task": f"work:{what}", "result": option}
    for what in ("odd", "plain", "large", "clash")
    for option in ("keep", "drop", "repr")
}
WORK = """
class Odd:
    def __repr__(self):
        return "<odd>"

def odd():
    return Odd()

def plain():
    return {"a": 1}

def large():
    return "x" * 5000

def clash():
    return {1: "a", "1": "b"}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Project]:
    settings = {"limits": {"result": "2KiB"}}
    folder = tmp_path_factory.mktemp("results") / "p"
    project = write_project(folder, redis_server.url, JOBS, {"work.py": WORK}, settings)
    with project.worker():
        yield project


@pytest.mark.parametrize("option", ["keep", "drop", "repr"])
@pytest.mark.parametrize("what", ["odd", "plain", "large", "clash"])
def test_a_job_says_what_is_stored(project: Project, what: str, option: str) -> None:
    run_id = project.submit(f"{what}-{option}")
    document = project.wait_for_state(run_id, "SUCCESS", "FAILURE")
    if option == "keep" and what != "plain":
        assert (document["state"], document["reason"]) == ("FAILURE", "exception")
        assert "option result" in document["error"]["message"]
        return
    assert document["state"] == "SUCCESS", document["error"]
    if option == "drop":
        assert document["result"] is None
    elif what == "large":
        assert document["result"].startswith("'xxx")
        assert len(document["result"]) <= 2048
    else:
        assert document["result"] == {"odd": "<odd>", "plain": {"a": 1}, "clash": "{1: 'a', '1': 'b'}"}[what]
