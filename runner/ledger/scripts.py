"""Loads the Lua scripts. Each is the parts of ``lua/shared`` that it names, followed by the script's own file.

Redis runs all of a script anew each time, definitions too: a script that defines little is fast, and leaves little
garbage behind, which Redis collects while everybody waits. So a part also says what it needs seldom (``-- Seldom:``).
That is defined when it is called.

Redis Functions would be defined once, but whoever may load functions into a server can replace them, and they run with
the rights of the user that calls them: a tenant without any right to our keys could have us change them. A script is
known by its digest, so nobody can. Functions also stay in the server, one library for each version that ever ran there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from runner.ledger.keys import Keys


class RunsScripts(Protocol):
    """The part of a Redis client that scripts need."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


_USES = re.compile(r"^-- Uses: ([a-z, ]+)\.$", re.MULTILINE)
_SELDOM = re.compile(r"^-- Seldom: (.+)\.$", re.MULTILINE)
_FUNCTIONS_OF = re.compile(r"(\w+) \(([\w, ]+)\)")
_KEY = re.compile(r"local (?:function )?(\w+)")
_GROUND = ("keys", "clock")
"""Parts of which all others make use."""
_REST = """\
local function define_the_rest()
  {names} = (function()
{text}
return {names}
end)()
end
"""
_STUB = "{name} = function(...) define_the_rest() return {name}(...) end"


@cache
def source(package: str, name: str) -> str:
    """Return the whole text of script ``name`` of a package (``runner.ledger`` or ``runner.delivery``)."""
    own = _read(package, f"{name}.lua")
    # `#!lua flags=allow-oom` must be the first line: the script gives back more than it takes, so it runs also
    # when Redis has no memory left.
    flags, own = own.split("\n", 1) if own.startswith("#!") else ("#!lua", own)
    return f"{flags}\n{link(own)}"


def _read(package: str, name: str) -> str:
    # Not by importlib.resources, which takes as long to import as all scripts to read: it can read zipped packages.
    return (Path(str(import_module(package).__file__)).parent / "lua" / name).read_text("utf-8")


@cache
def _part(name: str) -> str:
    return _read("runner.ledger", f"shared/{name}.lua")


def link(own: str) -> str:
    """Return a script's own text behind the parts that it needs.

    Those that are needed seldom are inside a function, which defines them when one of their functions is called. The
    ground is outside of a function that has all else in it: what a function finds there costs it nothing when it is
    defined, as opposed to what is beside it.
    """
    always = _reached(uses(own))
    called: dict[str, str] = {}
    for text in (*map(_part, sorted(always)), own):
        called |= {name: part for part, names in seldom(text).items() if part not in always for name in names}
    rest = _reached(called.values(), all_of_it=True) - always
    texts, rest_texts = [*_texts(always), own], _texts(rest)
    said = "\n".join(texts)
    ground = ["local NS = KEYS[1]", *_keys_of(said)]
    if "clock" in always | rest:
        ground.append(_part("clock"))
    if called:
        names = ", ".join(called)
        ground.append(f"local {names}")
        inner = "\n".join([*_keys_of("\n".join(rest_texts), without=said), *rest_texts])
        texts[-1:-1] = [_REST.format(names=names, text=inner), *(_STUB.format(name=name) for name in called)]
    return "\n".join([*ground, "return (function()", *texts, "end)()"])


def _texts(parts: set[str]) -> list[str]:
    """Return the texts of parts, each after what it uses, without the ground."""
    return [_part(name) for name in _ordered(parts) if name not in _GROUND]


def _reached(parts: Iterable[str], *, all_of_it: bool = False) -> set[str]:
    """Return the parts, and those that they use; ``all_of_it``: also those that they use seldom."""
    found: set[str] = set()
    left = list(parts)
    while left:
        part = left.pop()
        if part not in found:
            found.add(part)
            left += [*uses(_part(part)), *(seldom(_part(part)) if all_of_it else ())]
    return found


def _ordered(parts: set[str]) -> list[str]:
    """Return the parts so that each comes after those that it uses, seldom or not."""
    order: dict[str, None] = {}

    def add(part: str) -> None:
        for other in (*uses(_part(part)), *seldom(_part(part))):
            if other in parts and other not in order:
                add(other)
        order[part] = None

    for part in sorted(parts):
        if part not in order:
            add(part)
    return list(order)


def _keys_of(text: str, without: str = "NS") -> list[str]:
    """Return the lines of ``lua/shared/keys.lua`` that define what a text speaks of, and what ``without`` does not."""
    lines = [(found[1], line) for line in _part("keys").splitlines() if (found := _KEY.match(line))]
    return [line for name, line in lines if name in text and name not in without]


def uses(text: str) -> list[str]:
    """Return the parts that a script or a part says it uses: ``-- Uses: keys, records.``"""
    named = _USES.search(text)
    return named[1].split(", ") if named else []


def seldom(text: str) -> dict[str, list[str]]:
    """Return the functions that it says it seldom calls, by part: ``-- Seldom: waiting (park, take_slot).``

    They are defined when one of them is called for the first time.
    """
    named = _SELDOM.search(text)
    return {part: names.split(", ") for part, names in _FUNCTIONS_OF.findall(named[1])} if named else {}


@cache
def digest(package: str, name: str) -> str:
    """Return the SHA-1 that Redis knows script ``name`` by."""
    import hashlib  # start-up time: `runner --help` runs no script

    return hashlib.sha1(source(package, name).encode(), usedforsecurity=False).hexdigest()


def read_all() -> None:
    """Read all scripts now: a job may have made files unreachable by the time when its process needs one."""
    for package in ("runner.ledger", "runner.delivery"):
        for file in (Path(str(import_module(package).__file__)).parent / "lua").glob("*.lua"):
            digest(package, file.stem)


def run_script(client: RunsScripts, namespace: str, name: str, *args: Any, package: str = "runner.ledger") -> Any:
    """Run a script in one round trip, or two the first time a server sees it."""
    from redis.exceptions import NoScriptError  # start-up time: whoever has a client has imported it

    try:
        return client.evalsha(digest(package, name), 1, namespace, *args)
    except NoScriptError:
        return client.eval(source(package, name), 1, namespace, *args)


def run_confirmed(client: Any, namespace: str, name: str, *args: Any, milliseconds: int) -> tuple[Any, bool]:
    """Run a script, and wait until a replica has what it wrote; return its answer, and whether one has.

    One round trip: the commands go over one connection, since ``WAIT`` speaks of what that connection wrote. The
    little write in between makes it speak also of what another connection wrote before, of which the script only
    told.
    """
    from redis.exceptions import NoScriptError  # start-up time: whoever has a client has imported it

    for _ in range(2):
        with client.pipeline(transaction=False) as pipe:
            pipe.evalsha(digest("runner.ledger", name), 1, namespace, *args)
            pipe.set(Keys(namespace).confirm, "1", ex=60)
            pipe.execute_command("WAIT", 1, milliseconds)
            answer, _, replicas = pipe.execute(raise_on_error=False)
        if not isinstance(answer, NoScriptError):
            break
        client.script_load(source("runner.ledger", name))
    for each in (answer, replicas):
        if isinstance(each, Exception):
            raise each
    return answer, int(replicas) > 0
