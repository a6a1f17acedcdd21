"""Each script names the shared parts it uses: none is missing, which Lua would only tell when it gets there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import takewhile
from pathlib import Path

import pytest

from runner.ledger.scripts import source, uses

PACKAGES = ("runner.ledger", "runner.delivery", "runner.ledger.health")
SHARED = Path(str(files("runner.ledger"))) / "lua" / "shared"

_LOCAL = re.compile(r"^local (?:function )?(\w+(?:, ?\w+)*)", re.MULTILINE)
_BOUND = re.compile(r"\b(?:local (?!function)|for |function ?\w*\()(\w+(?:, ?\w+)*)|local function (\w+)")
_NOISE = re.compile(r"--[^\n]*|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")


def names(listed: str) -> set[str]:
    """Return the names in `a, b`."""
    return {each.strip() for each in listed.split(",")}


def bare(text: str) -> str:
    """Return Lua without comments and strings."""
    return _NOISE.sub("''", text)


def given_by(part: str) -> set[str]:
    """Return what a part defines for others."""
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
    read = mentioned(text)
    assert set(uses(text)) == {part for part, given in PARTS.items() if given & read}


def test_no_two_parts_define_the_same_name() -> None:
    every = [name for given in PARTS.values() for name in given]
    assert len(every) == len(set(every))


def test_each_part_stands_once_and_after_what_it_uses() -> None:
    lines = source("runner.ledger", "beat").splitlines()
    for part in PARTS:
        text = (SHARED / f"{part}.lua").read_text()
        first = text.splitlines()[0]
        assert lines.count(first) <= 1
        for other in uses(text) if first in lines else ():
            before = list(takewhile(lambda line: line != first, lines))  # noqa: B023 - used at once
            assert (SHARED / f"{other}.lua").read_text().splitlines()[0] in before


def test_flags_stay_on_the_first_line() -> None:
    assert source("runner.ledger", "prune").startswith("#!lua flags=allow-oom\n")
    assert source("runner.ledger", "submit").startswith("#!lua\n")
