"""Each script names the shared parts it uses: none is missing, which Lua would only tell when it gets there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from itertools import takewhile
from pathlib import Path

import pytest

from runner.ledger.record import DEFAULTS
from runner.ledger.scripts import seldom, source, uses

PACKAGES = ("runner.ledger", "runner.delivery", "runner.ledger.health")
SHARED = Path(str(files("runner.ledger"))) / "lua" / "shared"

_LOCAL = re.compile(r"^local (?:function )?(\w+(?:, ?\w+)*)", re.MULTILINE)
_BOUND = re.compile(r"\b(?:local (?!function)|for |function ?\w*\()(\w+(?:, ?\w+)*)|local function (\w+)")
_NOISE = re.compile(r"--[^\n]*|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


def names(listed: str) -> set[str]:
    """Return the names in `a, b`."""
    return {part.strip() for part in listed.split(",")}


def bare(text: str) -> str:
    """Return Lua without comments and strings."""
    return _NOISE.sub("''", text)


def given_by(part: str) -> set[str]:
    """Return the names that a part defines for others."""
    return set().union(*(names(found[1]) for found in _LOCAL.finditer(bare((SHARED / f"{part}.lua").read_text()))))


PARTS = {path.stem: given_by(path.stem) for path in SHARED.glob("*.lua")}


def mentioned(text: str) -> set[str]:
    """Return the names of variables that a text reads or calls and does not bind itself: no fields, no keys."""
    code = bare(text)
    bound = set().union(*(names(found[1] or found[2]) for found in _BOUND.finditer(code)))
    return set(re.findall(r"(?<![.:\w])([A-Za-z_]\w*)\b(?!\s*=[^=])", code)) - bound


def texts() -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every script and every part."""
    for package in PACKAGES:
        for path in sorted((Path(str(files(package))) / "lua").glob("*.lua")):
            yield f"{package}/{path.stem}", path.read_text()
    for path in sorted(SHARED.glob("*.lua")):
        yield f"shared/{path.stem}", path.read_text()


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in texts()])
def test_a_script_names_the_parts_it_uses_and_no_others(text: str) -> None:
    rare = {name for names in seldom(text).values() for name in names}
    read = mentioned(text) - rare
    assert set(uses(text)) == {part for part, given in PARTS.items() if given & read}
    assert rare <= mentioned(text)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in texts() if seldom(text)])
def test_what_is_called_seldom_are_functions_of_that_part(text: str) -> None:
    for part, names in seldom(text).items():
        defined = set(re.findall(r"^local function (\w+)", (SHARED / f"{part}.lua").read_text(), re.MULTILINE))
        assert set(names) <= defined


def test_a_script_defines_in_each_call_only_what_it_mostly_needs() -> None:
    always, _, rest = source("runner.ledger", "take").partition("local function define_the_rest()")
    assert "local function finish(" in always
    for name in ("lose", "park", "thin_out", "promote", "take_pass", "missing_success"):
        assert f"local function {name}(" not in always
        assert f"local function {name}(" in rest
    assert "local DELAYED = " in always
    assert "local IDS = " not in always


def test_a_part_that_is_used_anyway_is_defined_as_always() -> None:
    text = source("runner.ledger", "hand_back")
    assert text.count("local function lose(") == 1
    assert text.index("local function leave_slot(") < text.index("local function finish(")


def test_no_two_parts_define_the_same_name() -> None:
    every = [name for given in PARTS.values() for name in given]
    assert len(every) == len(set(every))


def test_each_part_stands_once_and_after_what_it_uses() -> None:
    lines = source("runner.ledger", "beat").splitlines()
    assert lines[1] == "local NS = KEYS[1]"
    for part in PARTS.keys() - {"keys"}:
        text = (SHARED / f"{part}.lua").read_text()
        first = text.splitlines()[0]
        assert lines.count(first) <= 1
        for other in set(uses(text)) - {"keys"} if first in lines else ():
            before = list(takewhile(lambda line: line != first, lines))  # noqa: B023 - used at once
            assert (SHARED / f"{other}.lua").read_text().splitlines()[0] in before


def test_a_script_is_the_same_in_every_process() -> None:
    """Redis knows a script by its text: one that hung on the order of a set would be sent and kept again and again."""
    program = """
from importlib.resources import files
from runner.ledger.scripts import digest
for package in ("runner.ledger", "runner.delivery", "runner.ledger.health"):
    for each in sorted(file.name for file in (files(package) / "lua").iterdir() if file.name.endswith(".lua")):
        print(each, digest(package, each.removesuffix(".lua")))
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in range(1, 5)
    }
    assert len(outputs) == 1
    assert "take.lua" in outputs.pop()


def test_flags_stay_on_the_first_line() -> None:
    assert source("runner.ledger", "prune").startswith("#!lua flags=allow-oom\n")
    assert source("runner.ledger", "submit").startswith("#!lua\n")


def test_lua_has_the_values_that_a_record_leaves_out() -> None:
    written = source("runner.ledger", "take")
    for name, value in DEFAULTS.items():
        if name.upper() in ("KEEP_RESULT", "KEEP_HISTORY"):
            assert f"run.{name} or {name.upper()}" in written
        else:
            assert re.search(rf"run\.{name}\)? or '?{re.escape(str(value))}\b|run\.{name} or '{{}}'", written), name
    assert f"KEEP_RESULT, KEEP_HISTORY = '{DEFAULTS['keep_result']}', '{DEFAULTS['keep_history']}'" in written
