"""Every key is spelled twice: for scripts in Lua, and for all else in Python. Both must say the same."""

from __future__ import annotations

import re
from inspect import isfunction, signature
from pathlib import Path

import runner
from runner.ledger import keys as module
from runner.ledger.inbox import INBOX, INBOX_KEYS
from runner.ledger.keys import Keys

ROOT = Path(runner.__file__).parent
LUA = ROOT / "ledger" / "lua" / "shared"
ONLY_LUA = {  # scripts alone use them
    *("expiring", "schedules", "slots", "sweep"),
    *("submission_key", "unique_key", "parked_key", "holders_key"),
    *("starts_key", "passes_key"),
}
ONLY_PYTHON = {"binding_deadlines", "confirm", "hints_ring", "touch", "wake_key", "specs_key"}

_CONSTANT = re.compile(r"^local ([A-Z_]+) = (NS .*)$", re.MULTILINE)
_FUNCTION = re.compile(r"^local function (\w+_key)\(([\w, ]+)\) return (.*) end$", re.MULTILINE)


def in_lua() -> dict[str, str]:
    """Return the keys in Lua, each with its arguments in braces, by name; constants in lower case."""
    text = (LUA / "keys.lua").read_text()
    found = {name.lower(): joined(expression) for name, expression in _CONSTANT.findall(text)}
    return found | {name: joined(expression) for name, _, expression in _FUNCTION.findall(text)}


def joined(expression: str) -> str:
    """Return the key that ``NS .. ':run:' .. id`` makes, with ``{}`` for an argument."""
    parts = expression.split(" .. ")
    return "".join(part.strip("'") if part[0] == "'" else "ns" if part == "NS" else "{}" for part in parts)


def in_python() -> dict[str, str]:
    """Return the same of Python."""
    keys, found = Keys("ns"), {"meta_key": module.meta_key("{}")}
    for name, value in vars(Keys).items():
        if name[0] == "_" or name in ("namespace", "named"):
            continue
        if isfunction(value):
            found[f"{name}_key"] = value(keys, *["{}"] * (len(signature(value).parameters) - 1))
        else:
            found[name] = getattr(keys, name)
    return found


def test_lua_and_python_spell_the_same_keys() -> None:
    lua, python = in_lua(), in_python()
    assert len(lua) > 40
    assert {name: lua[name] for name in lua.keys() & python.keys()} == {
        name: python[name] for name in lua.keys() & python.keys()
    }
    assert lua.keys() - python.keys() == ONLY_LUA
    assert python.keys() - lua.keys() == ONLY_PYTHON


def test_every_line_of_lua_that_defines_a_key_is_understood() -> None:
    lines = [line for line in (LUA / "keys.lua").read_text().splitlines() if line and not line.startswith("--")]
    assert len(lines) == 1 + len(in_lua())  # and the namespace


def test_lua_and_python_spell_the_same_inbox() -> None:
    text = (LUA / "inbox.lua").read_text()
    assert f"local INBOX = '{INBOX}'" in text
    spelled = dict(re.findall(r"\[(\d)\] = '([^']+)'", text))
    named = {priority: key.replace("\\6", "\x06").replace("\\022", "\x16") for priority, key in spelled.items()}
    assert [named[priority] for priority in "0369"] == list(INBOX_KEYS)


def test_keys_are_spelled_in_no_other_file() -> None:
    spelled = {
        ".lua": r"NS \.\.|'celery-task-meta",
        ".py": r"""(?i)\{[^{}"]*(?:namespace|\bns)\}:|f"celery-task-meta""",
    }
    assert [
        str(path.relative_to(ROOT))
        for suffix, pattern in spelled.items()
        for path in ROOT.rglob(f"*{suffix}")
        if re.search(pattern, path.read_text()) and path.stem not in ("keys", "permissions")
    ] == []
