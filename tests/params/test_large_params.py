"""Checking params takes time in proportion to their size, whatever the schema, and says no more than a person reads."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from runner.model.param import PARAMS, Param
from runner.params.check import fits

PROGRAM = """
from runner.model.job import JobSpec
from runner.model.param import PARAMS
from runner.errors import InvalidParams
from runner.params.check import check_params

MANY = 20_000
MERSENNE = 2**61 - 1
CASES = [
    ("objects", {"type": "array", "uniqueItems": True}, [{"a": i, "b": [str(i)]} for i in range(MANY)], True),
    ("lists", {"type": "array", "uniqueItems": True}, [[i, [i]] for i in range(MANY)], True),
    ("mixed", {"type": "array", "uniqueItems": True}, [each for i in range(MANY) for each in (i, str(i), [i])], True),
    ("one hash", {"type": "array", "uniqueItems": True}, [i * MERSENNE for i in range(-4, 5)], True),
    ("floats", {"type": "array", "uniqueItems": True}, [i + 0.5 for i in range(MANY)], True),
    ("twice", {"type": "array", "uniqueItems": True}, [*({"a": i} for i in range(MANY)), {"a": 7.0}], False),
    ("nested", {"items": {"uniqueItems": True}}, [[{"a": i} for i in range(MANY)]] * 3, True),
    ("items", {"type": "array", "items": {"type": "integer"}}, ["x"] * MANY, False),
    ("alternatives", {"items": {"anyOf": [{"type": "integer"}, {"maxLength": 0}]}}, ["x" * 50] * MANY, False),
    ("contains", {"contains": {"const": 1}, "minContains": 2}, [{"a": i} for i in range(MANY)], False),
    ("keys", {"type": "object", "additionalProperties": False}, {f"k{i}": i for i in range(MANY)}, False),
    ("names", {"type": "object", "propertyNames": {"maxLength": 1}}, {f"k{i}": i for i in range(MANY)}, False),
    ("required", {"type": "object", "dependentRequired": {"a": ["b"]}}, {"a": "x" * 10**6}, False),
    ("choice", {"enum": [f"c{i}" for i in range(MANY)]}, "c" * 10**6, False),
    ("close choice", {"enum": [f"choice-number-{i}" for i in range(2000)]}, "choice-number-x", False),
]
for name, schema, value, fits in CASES:
    job = JobSpec(name="a", task="a:b", params=PARAMS.read({"x": schema}, (), print))
    try:
        check_params(job, {"x": value})
        print(name, True)
    except InvalidParams as error:
        assert len(error.message) < 10_000, (name, len(error.message))
        print(name, False)
    assert fits in (True, False)
job = JobSpec(name="a", task="a:b", params=PARAMS.read({f"param_{i}": {} for i in range(20)}, (), print))
try:
    check_params(job, {f"param_x{i}": i for i in range(MANY)})
except InvalidParams as error:
    assert len(error.message) < 10_000
    print("undeclared", False)
print([fits for _, _, _, fits in CASES])
"""


def test_no_schema_takes_more_than_its_time() -> None:
    # In a process of its own, which can be ended: what is quadratic here takes minutes.
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=150)
    assert done.stderr == ""
    *lines, expected = done.stdout.splitlines()
    assert lines[-1] == "undeclared False"
    assert str([line.endswith("True") for line in lines[:-1]]) == expected


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([], True),
        ([1, True, "1", [1], {"a": 1}, None, 0, False, ""], True),
        ([1, 1.0], False),
        ([0.0, -0.0], False),
        ([0.1, 0.1], False),
        ([2**53, float(2**53)], False),
        ([2**53 + 1, float(2**53)], True),
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1.0}], False),
        ([{"a": 1}, {"a": True}], True),
        ([[1, 2], [2, 1]], True),
        ([{"a": [None]}, {"a": [None]}], False),
        ([{}, []], True),
        (["é", "e\u0301"], True),
        (["\ud800", "\ud800"], False),
        ([[], [[]], [[[]]]], True),
    ],
)
def test_what_is_unique(items: list[Any], unique: bool) -> None:
    read = PARAMS.read({"x": {"type": "array", "uniqueItems": True}}, (), lambda *_, **__: None)
    param: Param = read["x"]
    fault = fits(param, items)
    assert (fault is None) == unique
    assert unique or "is the same as item 0" in str(fault)
    assert fits(PARAMS.read({"x": {"uniqueItems": False}}, (), lambda *_, **__: None)["x"], items) is None
