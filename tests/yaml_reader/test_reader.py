"""The strict reader: values, and what the files of tests/specs do not show."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from runner.yaml_reader import parser
from runner.yaml_reader.problem import caret, display_column, one_line
from runner.yaml_reader.reader import MAX_BYTES, read_bytes, read_text


def read(text: str) -> Any:
    document = read_text(text, "f.yaml")
    assert document.problems == []
    return document.value


def problems(text: str | bytes) -> list[str]:
    document = read_bytes(text if isinstance(text, bytes) else text.encode(), "f.yaml")
    return [str(problem) for problem in document.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("+.5", 0.5),
        ("0x1F", 31),
        ("~", None),
        ("", None),
        ("Null", None),
        ("TRUE", True),
        ("false", False),
        ("y", "y"),
        ("2026-11-23", "2026-11-23"),
        ("2026-11-23T02:00:00Z", "2026-11-23T02:00:00Z"),
        ("12:99", "12:99"),
        ("1.2.3", "1.2.3"),
        ("1h30m", "1h30m"),
        ("-", None),
        ("+", "+"),
        ("0x", "0x"),
        ("1_a", "1_a"),
        ("=", "="),
        ("nan", "nan"),
        ("infinity", "infinity"),
        ("東京：晴れ", "東京：晴れ"),
    ],
)
def test_plain_scalars(text: str, value: Any) -> None:
    if text == "-":
        assert read("a:\n- \n")["a"] == [None]
        return
    read_value = read(f"a: {text}\n")["a"]
    assert read_value == value
    assert type(read_value) is type(value)


def test_values_are_what_pyyaml_reads_where_the_two_agree() -> None:
    text = """
a: &a {x: [1, 2.5, text, true, null], "quoted": '1'}
b: *a
c: {<<: *a, x: 2}
d: |
  block
  text
e: >-
  folded
  text
"""
    assert read(text) == yaml.safe_load(text)


def test_merge_keys_prefer_own_then_first() -> None:
    text = "a: &a {k: a, l: a}\nb: &b {k: b, m: b}\nc:\n  m: own\n  <<: [*a, *b]\n"
    assert read(text)["c"] == {"k": "a", "l": "a", "m": "own"}


def test_a_quoted_merge_sign_is_a_key() -> None:
    assert read('"<<": {a: 1}\n') == {"<<": {"a": 1}}


def test_both_parsers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "jobs:\n  a:\n    task: x:y\n    queue: one\n    queue: two\n    enabled: yes\n"
    with_libyaml = problems(text)
    for module in ("parser", "parsing", "tabs"):
        monkeypatch.setattr(f"runner.yaml_reader.{module}.OPEN_PARSER", yaml.SafeLoader)
    assert problems(text) == with_libyaml
    assert len(with_libyaml) == 2
    assert read("a: [1, {b: x}]\n") == {"a": [1, {"b": "x"}]}
    assert problems("a: [1\n")
    assert problems("a: b: c\n")[0].startswith('f.yaml:1:5: a text with ": "')


def test_libyaml_is_used_where_it_is_compiled_in() -> None:
    if yaml.__with_libyaml__:
        assert parser.OPEN_PARSER is yaml.CSafeLoader


def test_reading_goes_on_after_a_fault() -> None:
    found = problems("a: yes\nb: 010\nc: !x 1\nd: 1\nd: 2\ne: *none\n")
    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "5", "6"]


def test_columns_count_display_width() -> None:
    # Two characters of two columns each stand before the key x.
    assert problems("{完了: 1, x: yes}\n") == [
        'f.yaml:1:14: x: yes may be read as true or as text, write true, or "yes" for text'
    ]
    assert display_column("e\u0301x", 2) == 2
    assert display_column("\tx", 1) == 9
    assert caret("完了x", 5) == "完了x\n    ^"


def test_too_long_a_file() -> None:
    assert problems(b"# " + b"x" * MAX_BYTES)[0].startswith("f.yaml:1:1: is 1,048,578 bytes long, at most 1 MiB")
    assert problems(b"#" + b"x" * (MAX_BYTES - 1)) == []


def test_a_message_is_one_line() -> None:
    found = problems('a: 1\n"a\\nb\\e[31m": 1\n"a\\nb\\e[31m": 2\n')
    assert found == ["f.yaml:3:1: a\\nb\\x1b[31m: is in line 2 already, remove one, or merge the two"]
    assert len(one_line("x" * 10_000)) == 500


def test_a_thousand_faults_are_not_all_told() -> None:
    assert len(problems("".join(f"k{n}: yes\n" for n in range(1000)))) == 200


def test_many_aliases_are_fine_until_they_mean_too_much() -> None:
    jobs = "".join(f"  j{n}: *base\n" for n in range(5000))
    assert len(read(f"base: &base {{a: 1, b: 2}}\njobs:\n{jobs}")["jobs"]) == 5000


def test_depth_through_aliases_counts() -> None:
    text = "a0: &a0 [" + "[" * 39 + "]" * 40 + "\n"
    text += "a1: &a1 " + "[" * 20 + "*a0" + "]" * 20 + "\n"
    assert problems(text) == []
    text += "a2: " + "[" * 20 + "*a1" + "]" * 20 + "\n"
    assert "nested more than 64 levels deep by its aliases" in problems(text)[0]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a:\n  b: |\n    x\ty\n\tc: 1\n", "f.yaml:4:1: YAML does not allow tabs"),
        ("a: {b: 1,\tc: 2}\n", "f.yaml:1:10: YAML does not allow a tab"),
        ("a: 1\n\t# comment\n", "f.yaml:2:1: YAML does not allow tabs"),
        ("a: 1 # one\ttwo\n", ""),
        ("a: 1\t\n", ""),
        ('a: "x\ty"\n', ""),
    ],
)
def test_tabs(text: str, start: str) -> None:
    found = problems(text)
    assert found == [] if not start else found[0].startswith(start)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x\n",
        "*x\n",
        "&x a\n",
        "!!str\n",
        "a: !<tag:x> y\n",
        "- - - a\n",
        "? a\n",
        "%TAG ! tag:x,2000:\n---\na\n",
        "\ufeff",
    ],
)
def test_odd_but_harmless(text: str) -> None:
    for line in problems(text):
        assert line.startswith("f.yaml:")
