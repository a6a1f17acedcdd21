"""Patterns of params: matched in linear time wherever they stand, and refused where they could not be."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from runner.catalog.catalog import load_files
from runner.errors import InvalidParams
from runner.model.job import JobSpec
from runner.model.param import PARAMS
from runner.model.regex import MOST_PATTERN, MOST_TEXT, fault_of, matches
from runner.params.check import check_params

EVIL = "^(a+)+$"
LARGE = "(?:a?b?c?d?e?f?g?h?i?j?k?){1000}!"
HOSTILE = "a" * 50_000 + "!"
SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string", "pattern": EVIL}, HOSTILE),
    ({"type": "string", "pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}, HOSTILE),
    ({"type": "string", "pattern": r"^(\w+\s?)*$"}, HOSTILE),
    ({"type": "string", "pattern": "(x+x+)+y"}, "x" * 50_000),
    ({"pattern": "(.*a){20}$"}, "b" * 50_000),
    ({"type": "array", "items": {"pattern": EVIL}}, ["a", HOSTILE]),
    ({"type": "object", "properties": {"k": {"pattern": EVIL}}}, {"k": HOSTILE}),
    ({"type": "object", "patternProperties": {EVIL: {"type": "integer"}}, "additionalProperties": False}, {HOSTILE: 1}),
    ({"type": "object", "patternProperties": {EVIL: {}}, "additionalProperties": {"const": 2}}, {HOSTILE: 1}),
    ({"type": "object", "propertyNames": {"pattern": EVIL}}, {HOSTILE: 1}),
    ({"anyOf": [{"pattern": EVIL}, {"type": "integer"}]}, HOSTILE),
    ({"allOf": [{"not": {"not": {"pattern": EVIL}}}]}, HOSTILE),
    ({"if": {"pattern": EVIL}, "then": {}, "else": {"const": 1}}, HOSTILE),
    ({"type": "array", "contains": {"pattern": EVIL}}, [HOSTILE]),
    # Linear, but in a pattern of 22,000 steps a character.
    ({"type": "string", "pattern": LARGE}, "abcdefghijk" * 5900),
    ({"type": "array", "items": {"pattern": LARGE}}, ["abcdefghijk" * 5900] * 20),
    ({"type": "object", "patternProperties": {LARGE: {}}, "additionalProperties": False}, {"abcdefghijk" * 5900: 1}),
    ({"type": "object", "propertyNames": {"pattern": LARGE}}, {"abcdefghijk" * 5900: 1}),
    ({"const": 1, "format": "regex"}, "(?i)" + "[\0-\U0010ffff]" * 199),
    ({"type": "array", "items": {"const": 1, "format": "regex"}}, ["(?i)" + "[\0-\U0010ffff]" * 199] * 60),
]

PROGRAM = """
import json, sys
from runner.model.job import JobSpec
from runner.model.param import PARAMS
from runner.errors import InvalidParams
from runner.params.check import check_params
for schema, value in json.load(sys.stdin):
    job = JobSpec(name="a", task="a:b", params=PARAMS.read({"x": schema}, (), print))
    try:
        check_params(job, {"x": value})
        print("fits", schema)
    except InvalidParams as error:
        assert len(error.message) < 4000, schema
print("done")
"""


def params(**schemas: Any) -> JobSpec:
    def refuse(path: Any, message: str, **_: Any) -> None:
        raise AssertionError(f"{path}: {message}")

    return JobSpec(name="a", task="a:b", params=PARAMS.read(schemas, (), refuse))


def test_no_value_stops_a_process_by_a_pattern() -> None:
    # In a process of its own, which can be ended: a backtracking engine would take longer than the universe is old.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(SCHEMAS), capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


LACKING = [
    ("(?=a)b", "the lookahead (?= at character 1"),
    ("^(?!-)[a-z]+$", "the lookahead (?! at character 2"),
    ("(?<=a)b", "the lookbehind (?<= at character 1"),
    (r"x(?<!a)b", "the lookbehind (?<! at character 2"),
    (r"(a)\1", r"the backreference \1 at character 4"),
    (r"(?P<q>['\"])x(?P=q)", "the backreference (?P=q) at character 14"),
    (r"(?<q>a)\k<q>", r"the backreference \k<q> at character 8"),
    ("(?>a+)b", "the atomic group (?> at character 1"),
    ("a++b", "the possessive quantifier + at character 3"),
    ("(a)?(?(1)b|c)", "the conditional group (?( at character 5"),
    ("a(?#note)b", "the comment (?# at character 2"),
    ("(?x) a b", "the flag in (?x) at character 1"),
    (r"a\Kb", r"the escape \K at character 2"),
    ("a{2000}", "the count {2000}, of more than 1000 in all, at character 2"),
]


@pytest.mark.parametrize(("pattern", "told"), LACKING)
@pytest.mark.parametrize("place", ["pattern", "items", "patternProperties"])
def test_what_the_engine_lacks_is_named_where_it_stands(tmp_path: Path, pattern: str, told: str, place: str) -> None:
    quoted = "'" + pattern.replace("'", "''") + "'"
    schema = {
        "pattern": f"pattern: {quoted}",
        "items": f"items: {{pattern: {quoted}}}",
        "patternProperties": f"patternProperties: {{{quoted}: {{}}}}",
    }[place]
    path = tmp_path / "jobs.yaml"
    path.write_text(f"jobs:\n  a:\n    task: a:b\n    params:\n      x: {{{schema}}}\n", "utf-8")
    [problem] = load_files([path], base=tmp_path).problems
    assert problem.message.startswith(f"{told} is not supported, because patterns are matched in linear time")
    line = path.read_text("utf-8").splitlines()[problem.line - 1]
    assert line[problem.column - 1 :].startswith(quoted)


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not_fit"),
    [
        ("^a$", ["a"], ["a\n", "ba"]),
        ("a", ["cat"], ["dog"]),
        (r"^a\Z", ["a"], ["a\n"]),
        (r"^\u00e9\u{1F600}$", ["é😀"], ["e"]),
        (r"^\\u0041$", [r"\u0041"], ["A"]),
        (r"^\d\w\s$", ["1a "], ["٣a ", "1a\u3000"]),
        (r"^\p{L}+$", ["Ünïcode", "日本"], ["a1"]),
        ("^[日-本]$", ["日"], ["x"]),
        ("[[a-z]--b]", ["[--b]", "a--b]"], ["c"]),
        (r"[\]a]", ["]"], ["b"]),
        ("^(?i:AB)$", ["ab"], ["ac"]),
        ("^(?<n>a)$", ["a"], ["b"]),
        (".", ["a"], ["\ud800"]),
    ],
)
def test_what_a_pattern_means(pattern: str, fits: list[str], does_not_fit: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fault_of(pattern) is None
        assert [matches(pattern, text) for text in (*fits, *does_not_fit)] == [True] * len(fits) + [False] * len(
            does_not_fit
        )


def test_patterns_and_texts_have_a_limit() -> None:
    assert fault_of("a" * MOST_PATTERN) is None
    assert "at most 1,000 are allowed" in str(fault_of("a" * (MOST_PATTERN + 1)))
    job = params(plain={"type": "string", "pattern": "a"}, deep={"type": "array", "items": {"pattern": "a"}})
    check_params(job, {"plain": "a" * MOST_TEXT, "deep": ["a" * MOST_TEXT]})
    for given in ({"plain": "a" * (MOST_TEXT + 1)}, {"deep": ["a" * (MOST_TEXT + 1)]}):
        with pytest.raises(InvalidParams, match="too long for a pattern, at most 65,536 characters"):
            check_params(job, given)
    with pytest.raises(InvalidParams, match="is not a regular expression of at most 1,000 characters"):
        check_params(params(x={"type": "string", "format": "regex"}), {"x": "a" * (MOST_PATTERN + 1)})


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("[[:foo:]]", "invalid character class range: [:foo:]"),
        (r"\p{Foo}", r"invalid character class range: \p{Foo}"),
        (r"[\h]", r"bad escape \h at position 1"),
        ("(a{50}){50}", "repeats something more than 1000 times in all, use smaller counts"),
        ("a{2,1}", "min repeat greater than max repeat"),
    ],
)
def test_what_is_no_regular_expression_is_explained_without_warnings(pattern: str, told: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert told in str(fault_of(pattern))


def test_a_large_pattern_takes_short_texts_alone() -> None:
    job = params(x={"type": "string", "pattern": LARGE}, y={"patternProperties": {LARGE: {"type": "integer"}}})
    check_params(job, {"x": "abc!", "y": {"abc!": 1}})
    with pytest.raises(InvalidParams, match=r"is too long for the pattern .* at most 2,978 bytes are allowed"):
        check_params(job, {"x": "abcdefghijk" * 300})
    with pytest.raises(InvalidParams, match=r"the key .* is too long for a pattern"):
        check_params(job, {"y": {"abcdefghijk" * 300: 1}})
    check_params(params(x={"pattern": r"^\p{L}{1,64}$"}), {"x": "\u65e5" * 64})
    assert "use smaller counts" in str(fault_of(r"(?:\p{L}{0,900}x)+y"))


@pytest.mark.parametrize("text", ["a|b", "(?i)[a-z]", "(?=a)b", r"(a)\1", "[[a-z]--b]", "x{2,3}", "(?<=a)b"])
def test_a_text_that_is_a_regular_expression(text: str) -> None:
    check_params(params(x={"format": "regex"}), {"x": text})


@pytest.mark.parametrize("text", ["(", "a**", "[b-a]", "(?P<a>x)(?P<a>y)", "\\", r"(a)\2", "x{99999999999}", "(" * 999])
def test_a_text_that_is_no_regular_expression(text: str) -> None:
    with pytest.raises(InvalidParams, match="is not a regular expression"):
        check_params(params(x={"format": "regex"}), {"x": text})


def test_a_pattern_prints_no_warning(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "jobs:\n  a:\n    task: a:b\n    params:\n      x: {type: string, pattern: '[[a-z]--b]', default: 'a--b]'}\n"
        "      y: {type: string, format: regex, default: '[[a-z]--b]'}\n"
    )
    command = [sys.executable, "-W", "always", "-m", "runner", "validate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
