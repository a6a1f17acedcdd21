"""Params: words read by declared type, values checked, messages that name all faults."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.errors import InvalidParams
from runner.ledger.outcome import ResultNotKept, write_result
from runner.model.job import JobSpec
from runner.model.keyword import FORMATS
from runner.model.param import PARAMS, Param
from runner.model.strict_json import MOST_NESTED, is_too_deep, read_json
from runner.params import formats
from runner.params.check import check_params, check_size, fits
from runner.params.json_schema import faults_of
from runner.params.reading import read_params, read_value


def job(**params: Any) -> JobSpec:
    def refuse(path: Any, message: str, *, on_key: bool = False) -> None:
        raise AssertionError(f"{path}: {message}")

    return JobSpec(name="report", task="a:b", params=PARAMS.read(params, (), refuse))


def value_of(text: str, **schema: Any) -> Any:
    return read_params(job(p=schema), [f"p={text}"])["p"]


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, "", ""),
        ({"type": "string"}, "a=b=c", "a=b=c"),
        ({"type": "string"}, "yes", "yes"),
        ({"type": "string"}, "[a", "[a"),
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "-5", -5),
        ({"type": "integer"}, "5.0", 5),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "null"}, "null", None),
        ({"type": "null"}, "", None),
        ({"type": "array"}, "[a,b]", ["a", "b"]),
        ({"type": "array"}, '["a", 1]', ["a", 1]),
        ({"type": "object"}, "{a: 1, b: [x]}", {"a": 1, "b": ["x"]}),
        ({"type": "object"}, '{"a": {"b": null}}', {"a": {"b": None}}),
        ({"type": ["integer", "string"]}, "5", 5),
        ({"type": ["integer", "string"]}, "five", "five"),
        ({"type": ["string", "integer"]}, "5", "5"),
        ({"type": ["null", "boolean"]}, "true", True),
        ({"type": ["array", "string"]}, "[broken", "[broken"),
        ({}, "5", 5),
        ({}, "text", "text"),
        ({}, "[broken", "[broken"),
        ({}, "no", "no"),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"enum": [1, 2]}, "1", 1),
    ],
)
def test_words_are_read_by_type(schema: dict[str, Any], text: str, value: Any) -> None:
    found = value_of(text, **schema)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("schema", "text", "message"),
    [
        ({"type": "integer"}, "five", "p: 'five' is not of type integer (a whole number)"),
        ({"type": "integer"}, "5.5", "p: '5.5' is not of type integer (a whole number)"),
        ({"type": "integer"}, "", "p: '' is not of type integer (a whole number)"),
        ({"type": "integer"}, "010", "p: '010' is not of type integer (a whole number): 010 may be read as 10"),
        ({"type": "boolean"}, "yes", "p: 'yes' is not of type boolean (true or false): yes may be read as true"),
        ({"type": "array"}, "[a", "p: '[a' is not of type array (a list): the list that begins here is not closed"),
        ({"type": "object"}, "a", "p: 'a' is not of type object (a mapping)"),
        ({"type": ["integer", "null"]}, "x", "p: 'x' is not of type integer (a whole number) or null (null)"),
    ],
)
def test_a_word_that_is_not_of_its_type(schema: dict[str, Any], text: str, message: str) -> None:
    with pytest.raises(InvalidParams) as raised:
        value_of(text, **schema)
    assert message in raised.value.message


def test_all_faults_of_words_at_once() -> None:
    with pytest.raises(InvalidParams) as raised:
        read_params(
            job(day={"type": "string"}, limit={"type": "integer"}), ["dya=1", "limit=x", "day", "=1", "day=1", "day=2"]
        )
    assert raised.value.message == (
        "params of report: dya: is not declared, did you mean day?; "
        "limit: 'x' is not of type integer (a whole number); 'day' has no value, write NAME=VALUE; "
        "'=1' has no name, write NAME=VALUE; day: is given twice"
    )
    assert raised.value.hint == "runner jobs report shows its params."
    assert raised.value.exit_code == 2


def test_defaults_are_filled_in_and_nothing_else() -> None:
    declared = job(a={"default": None}, b={"default": [1]}, c={"type": "string"})
    assert check_params(declared, {}) == {"a": None, "b": [1]}
    assert check_params(declared, {"b": 2}) == {"a": None, "b": 2}


def test_all_faults_of_values_at_once() -> None:
    declared = job(
        day={"type": "string", "format": "date", "required": True, "description": "Day to report"},
        region={"type": "string", "enum": ["europe", "america"]},
        limit={"type": "integer", "minimum": 1},
        rows={"type": "array", "items": {"type": "object", "properties": {"id": {"type": "integer"}}}},
    )
    with pytest.raises(InvalidParams) as raised:
        check_params(declared, {"regoin": 1, "region": "euorpe", "limit": 0, "rows": [{"id": "x"}, 5]})
    assert raised.value.message == (
        "params of report: regoin: is not declared, did you mean region?; day: is required (Day to report); "
        'region: "euorpe" is not one of "europe", "america", did you mean europe?; '
        'limit: 0 is less than the minimum 1; rows[0].id: expected type integer, got "x"; '
        "rows[1]: expected type object, got 5"
    )


def test_a_job_without_params_takes_none() -> None:
    assert check_params(job(), {}) == {}
    with pytest.raises(InvalidParams) as raised:
        check_params(job(), {"x": 1})
    assert raised.value.message == "params of report: x: is not declared, report takes no params"


def test_a_long_value_is_cut_in_a_message() -> None:
    with pytest.raises(InvalidParams) as raised:
        check_params(job(x={"type": "integer"}), {"x": "y" * 10_000})
    assert len(raised.value.message) < 200


def test_size() -> None:
    check_size({"a": "x" * 56}, 64)
    check_size({"a": "ü" * 28}, 64)
    with pytest.raises(InvalidParams, match=r"params take 65 bytes as JSON, at most 64B are allowed"):
        check_size({"a": "x" * 57}, 64)
    for odd in ({"a": float("nan")}, {"a": {1}}, {"a": object()}):
        with pytest.raises(InvalidParams, match="cannot be written as JSON"):
            check_size(odd, 1000)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_checked_and_has_an_example_that_fits(name: str) -> None:
    param = Param("p", {"format": name})
    example = formats.FORMATS[name][1].rpartition(" ")[2]
    if name != "regex":
        assert fits(param, example) is None
    assert fits(param, 5) is None
    assert fits(param, "(((")


@pytest.mark.parametrize(
    ("name", "text", "good"),
    [
        ("date", "2026-02-29", False),
        ("date", "20261123", False),
        ("date", "2026-11-23\n", False),
        ("date-time", "2026-11-23T24:00:00Z", False),
        ("date-time", "2026-11-23 02:00:00+01:00", True),
        ("date-time", "2026-11-23T02:00:00", False),
        ("date-time", "2026-12-31T23:59:60Z", True),
        ("date-time", "2026-11-23T02:00:00Z\n", False),
        ("time", "23:59:60Z", True),
        ("time", "02:00:00Z\n", False),
        ("time", "02:00:00+25:00", False),
        ("duration", "P", False),
        ("duration", "PT", False),
        ("duration", "P1DT2H", True),
        ("duration", "P1DT", False),
        ("duration", "-P1D", False),
        ("duration", "PT1.5S", False),
        ("email", "a@b@c", False),
        ("email", "a@b\nBcc: c@d", False),
        ("hostname", "a\n", False),
        ("uri", "https://example.org/x\n", False),
        ("hostname", "-a.example", False),
        ("ipv6", "::1%eth0", False),
        ("uri", "//example.org", False),
        ("uri", "http://[::1", False),
        ("uuid", "0b8a3f0e6d0c4c4e9f0a2f1d3c5b7a90", False),
        ("regex", "a{2", True),
    ],
)
def test_formats(name: str, text: str, good: bool) -> None:
    assert formats.fits_format(text, name) is good


@given(
    st.sampled_from(["date", "uuid", "ipv4", "ipv6"]),
    st.text(max_size=12)
    | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f:.%]{2,20}"),
)
def test_the_formats_that_jsonschema_checks_alone_agree_with_it(name: str, text: str) -> None:
    assert formats.fits_format(text, name) is Draft202012Validator.FORMAT_CHECKER.conforms(text, name)


scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3) | st.sampled_from(["", "a", "ab", "2026-11-23"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
)
types = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"])
plain_schemas = st.fixed_dictionaries(
    {},
    optional={
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "minimum": st.integers(-2, 2),
        "maximum": st.floats(-2, 2),
        "exclusiveMinimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "format": st.sampled_from(["date", "uuid"]),
    },
)


@given(plain_schemas, values)
def test_the_plain_check_and_jsonschema_agree(schema: dict[str, Any], value: Any) -> None:
    assert (fits(Param("p", schema), value) is None) == (faults_of(schema, value) == [])


@given(plain_schemas, st.text(max_size=20) | values.map(str))
def test_reading_a_word_gives_a_value_or_says_why(schema: dict[str, Any], text: str) -> None:
    try:
        value = read_value(Param("p", schema), text)
    except ValueError as error:
        value = str(error)
    assert value is None or isinstance(value, bool | int | float | str | list | dict)


def test_every_accepted_schema_is_one_to_jsonschema() -> None:
    declared = job(
        a={
            "type": ["string", "null"],
            "pattern": "^a",
            "minLength": 1,
            "examples": ["a"],
            "title": "A",
            "deprecated": True,
        },
        b={"type": "array", "prefixItems": [{"type": "string"}], "items": False, "contains": {}, "uniqueItems": True},
        c={"anyOf": [{"const": 1}, {"not": {"type": "integer"}}], "if": {}, "then": True, "else": False},
        d={"type": "object", "patternProperties": {"^x": {}}, "dependentRequired": {"a": ["b"]}, "propertyNames": {}},
    )
    for param in declared.params.values():
        Draft202012Validator.check_schema(dict(param.schema))


def test_params_that_are_plain_never_import_jsonschema() -> None:
    code = (
        "import sys; from runner.params.check import *; from runner.params.reading import *;"
        "from runner.catalog.catalog import *;"
        "from runner.model.param import Param; from runner.model.job import JobSpec;"
        "j = JobSpec(name='a', task='a:b', params={'d': Param('d', {'type': 'string', 'format': 'date'}, True)});"
        "check_params(j, read_params(j, ['d=2026-11-23']));"
        "print(*{'jsonschema', 'celery', 'kombu', 'redis', 'click', 'rich', 'asyncio'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def nested(depth: int) -> Any:
    """Return a list in a list in a list …, a mapping every other time."""
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_what_is_nested_too_deeply_is_refused_where_it_comes_in() -> None:
    for depth in (0, 1, MOST_NESTED):
        value = nested(depth)
        assert check_params(job(p={}), {"p": value}) == {"p": value}
        assert read_json(write_result(value, 10_000)) == value
    for depth in (MOST_NESTED + 1, 900, 5_000):
        assert is_too_deep(nested(depth))
        with pytest.raises(InvalidParams, match="p: is nested more than 64 levels deep"):
            check_params(job(p={}), {"p": nested(depth)})
        with pytest.raises(ResultNotKept):
            write_result(nested(depth), 1_000_000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' is given twice"),
        ("[NaN]", "NaN is not a JSON value"),
        ("[-Infinity]", "-Infinity is not a JSON value"),
        ("[1e999]", "Out of range"),
        (r'["\ud800"]', "half of a surrogate pair"),
        (r'{"\udcff": 1}', "half of a surrogate pair"),
        (b'["\xff"]', "not UTF-8"),
        ("[" * 100_000, "nested more than 64 levels deep"),
        ("[" * 65 + "]" * 65, "nested more than 64 levels deep"),
        (f"[{'9' * 5000}]", "a number with thousands of digits, give it as text"),
        ("", "Expecting value"),
        ("{", "Expecting"),
    ],
)
def test_json_that_is_none_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_json(text)


def test_json_is_read() -> None:
    assert read_json(b'{"a": [1, 2.5, "\\ud83d\\ude00", null, true]}') == {"a": [1, 2.5, "😀", None, True]}
