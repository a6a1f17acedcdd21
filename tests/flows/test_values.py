"""Values of items and steps: what a name leads to, and what is said where it leads nowhere."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.flows.expand import BadValue, holds, items_of
from runner.flows.values import NoValue, StepValues, Values, look_up
from runner.model.template import IN_FLOW
from runner.model.value_path import read_value_path

VALUES = Values(
    item={"region": "eu", "x-y": 1, "0": "zero", "list": [1, {"b": None}]},
    steps={
        "load": StepValues({"files": ["a", "b"], "rows": 3, "ok": True}, [{"n": 1}, None], "FAILURE"),
        "none": StepValues(),
        "a-b_c": StepValues("text"),
    },
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("item", VALUES.item),
        ("item.region", "eu"),
        ("item.x-y", 1),
        ("item.0", "zero"),
        ("item.list[1].b", None),
        ("item.list[01]", {"b": None}),
        ("steps.load.result.files[1]", "b"),
        ("steps.load.results", [{"n": 1}, None]),
        ("steps.load.results[0].n", 1),
        ("steps.load.state", "FAILURE"),
        ("steps.none.result", None),
        ("steps.none.results", []),
        ("steps.a-b_c.result", "text"),
    ],
)
def test_what_a_name_leads_to(name: str, value: Any) -> None:
    assert look_up(name, VALUES) == value
    assert IN_FLOW.knows(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("item.regoin", "item has no key regoin, did you mean region?"),
        ("item.z", "item has no key z, it has region, x-y, 0, list"),
        ("item.list[2]", "item.list has 2 items, counted from 0"),
        ("item.list.b", "item.list is a list, not a mapping"),
        ("item[0]", "item is a mapping, not a list"),
        ("item.list[1].b.c", "item.list[1].b is null, not a mapping"),
        ("steps.load.results[1].n", "steps.load.results[1] is null, not a mapping"),
        ("steps.none.results[0]", "steps.none.results has no items, counted from 0"),
        ("steps.load.result.rows[0]", "steps.load.result.rows is a whole number, not a list"),
        ("steps.a-b_c.result[0]", "steps.a-b_c.result is text, not a list"),
        ("steps.other.result", "step other is not known here, add it to needs"),
        ("steps.load.state.x", "there is no such value in a flow"),
        ("steps.load", "there is no such value in a flow"),
        ("params.x", "there is no such value in a flow"),
    ],
)
def test_what_is_said_of_a_name_that_leads_nowhere(name: str, message: str) -> None:
    with pytest.raises(NoValue, match=f"^{re.escape(f'${{{name}}}: {message}')}$"):
        look_up(name, VALUES)


def test_an_item_may_be_null_and_a_step_may_have_none() -> None:
    assert look_up("item", Values(item=None)) is None
    with pytest.raises(NoValue, match="the step has no each, so it has no item"):
        look_up("item", Values())


def test_an_empty_mapping_and_one_with_many_keys() -> None:
    with pytest.raises(NoValue, match=r"has no key x, it is empty$"):
        look_up("item.x", Values(item={}))
    with pytest.raises(NoValue, match=r"it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …$"):
        look_up("item.x", Values(item={str(number): 0 for number in range(50)}))


@given(st.text(alphabet="itemstpsrul.[]0123ab-_", max_size=30) | st.from_regex(IN_FLOW.known, fullmatch=True))
def test_names_are_those_that_validation_admits(name: str) -> None:
    of_a_flow = name.startswith(("item", "steps."))
    assert (read_value_path(name) is not None) == (of_a_flow and IN_FLOW.knows(name))


FILL_IN = partial(look_up, values=VALUES)


@pytest.mark.parametrize(
    ("each", "items"),
    [
        ("${steps.load.result.files}", ["a", "b"]),
        ("${ steps.load.results }", [{"n": 1}, None]),
        ([1, "x ${item.region}", {"k": ["${steps.load.result.rows}"]}], [1, "x eu", {"k": [3]}]),
        ([], []),
        ("${steps.none.results}", []),
        ({"a": [1, 2], "b": ["x", "y"]}, [{"a": a, "b": b} for a in (1, 2) for b in "xy"]),
        ({"b": "${steps.load.result.files}", "a": [0]}, [{"b": "a", "a": 0}, {"b": "b", "a": 0}]),
        ({"a": [1, 2], "b": []}, []),
        ({}, []),
    ],
)
def test_items(each: Any, items: list[Any]) -> None:
    found = items_of(each, FILL_IN)
    assert found == items
    assert [list(item) for item in found if isinstance(item, dict)] == [list(e) for e in items if isinstance(e, dict)]


@pytest.mark.parametrize(
    ("each", "message"),
    [
        ("${steps.load.state}", "each: ${steps.load.state} must give a list, not text"),
        ("${steps.none.result}", "each: ${steps.none.result} must give a list, not null"),
        ("${item}", "each: ${item} must give a list, not a mapping"),
        ({"r": "${steps.load.result.ok}"}, "each.r: ${steps.load.result.ok} must give a list, not true or false"),
        ("${item.nope}", "${item.nope}: item has no key nope, it has region, x-y, 0, list"),
        (
            {"a": [0] * 101, "b": [0] * 100},
            "the combinations of each: 10,100 items are too many, at most 10,000 are allowed",
        ),
    ],
)
def test_what_is_no_list_of_items(each: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        items_of(each, FILL_IN)


def test_the_number_of_items_has_a_bound() -> None:
    many = partial(look_up, values=Values(steps={"a": StepValues(list(range(10_000))), "b": StepValues([0] * 10_001)}))
    assert len(items_of("${steps.a.result}", many)) == 10_000
    with pytest.raises(BadValue, match=r"^each: 10,001 items are too many, at most 10,000 are allowed$"):
        items_of("${steps.b.result}", many)
    # A trillion combinations are refused before any is made.
    with pytest.raises(BadValue, match=r"^the combinations of each: 1,000,000,000,000 items are too many"):
        items_of({"a": "${steps.a.result}", "b": "${steps.a.result}", "c": "${steps.a.result}"}, many)


@pytest.mark.parametrize("value", [True, False])
def test_a_condition(value: bool) -> None:
    assert holds("${item}", partial(look_up, values=Values(item=value))) is value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "a whole number"),
        (0, "a whole number"),
        ("true", "text"),
        ("", "text"),
        (None, "null"),
        ([], "a list"),
        ({}, "a mapping"),
        (0.5, "a number"),
    ],
)
def test_what_is_no_condition(value: Any, kind: str) -> None:
    message = f"if: ${{item}} must give true or false, not {kind}"
    with pytest.raises(BadValue, match=f"^{re.escape(message)}$"):
        holds("${item}", partial(look_up, values=Values(item=value)))
