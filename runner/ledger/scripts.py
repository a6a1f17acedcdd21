"""Load the Lua scripts. A script consists of the parts of ``lua/shared`` that it names, followed by its own file.

Redis executes the whole script at each call, including its definitions. A script with few definitions is fast and
leaves little garbage, whose collection blocks Redis. So a script also names the functions that it rarely calls
(``-- Seldom:``); they are defined when they are called.

Redis Functions would be defined once. But a user who may load functions can replace them, and they run with the rights
of the caller: a tenant without access to our keys could make us change them. A script is identified by its digest, so
nobody can replace it. Functions also stay in the server, one library for each version that ever ran.

If RabbitMQ is the broker, the parts in ``lua/amqp`` replace those of the same name (``hints``): they record hints to
publish instead of ringing bells in Redis. A script with ``-- Hints: held.`` leaves its hints to its caller for a while.
Projects without RabbitMQ run none of these parts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from runner.ledger.keys import Keys


class RunsScripts(Protocol):
    """The part of a Redis client that scripts need."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


_Part = Callable[[str], str]
"""A function that returns the text of a part."""

_USES = re.compile(r"^-- Uses: ([a-z, ]+)\.$", re.MULTILINE)
_SELDOM = re.compile(r"^-- Seldom: (.+)\.$", re.MULTILINE)
_HELD = "-- Hints: held."
HELD_SECONDS = 10
"""How long only the submitter publishes the hints of a submission, before any worker does."""
_FUNCTIONS_OF = re.compile(r"(\w+) \(([\w, ]+)\)")
_KEY = re.compile(r"local (?:function )?(\w+)")
_GROUND = ("keys", "clock")
"""The parts that all others use."""
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
def source(package: str, name: str, *, hints: bool = False) -> str:
    """Return the whole text of script ``name`` of a package (``runner.ledger`` or ``runner.delivery``)."""
    own = _read(package, f"{name}.lua")
    # `#!lua flags=allow-oom` must be the first line: the script gives back more than it takes, so it runs also
    # when Redis has no memory left.
    flags, own = own.split("\n", 1) if own.startswith("#!") else ("#!lua", own)
    return f"{flags}\n{link(own, hints=hints)}"


def _read(package: str, name: str) -> str:
    # Not importlib.resources: its import takes as long as reading all scripts, only to support zipped packages.
    return (_folder(package) / name).read_text("utf-8")


def _folder(package: str) -> Path:
    return Path(str(import_module(package).__file__)).parent / "lua"


@cache
def _part(name: str, hints: bool = False) -> str:
    if hints and name in _parts_of_hints():
        return _read("runner.ledger", f"amqp/{name}.lua")
    return _read("runner.ledger", f"shared/{name}.lua")


@cache
def _parts_of_hints() -> frozenset[str]:
    return frozenset(file.stem for file in (_folder("runner.ledger") / "amqp").glob("*.lua"))


def link(own: str, *, hints: bool = False) -> str:
    """Return the text of a script after the parts that it needs.

    Rarely needed parts are inside a function that defines them when one of their functions is called. The basic parts
    are outside of a function that contains everything else: upvalues from outside cost a function nothing when it is
    defined, unlike those beside it.
    """
    part = partial(_part, hints=hints)
    always = _reached(uses(own), part)
    called: dict[str, str] = {}
    for text in (*map(part, sorted(always)), own):
        called |= {
            name: part_name for part_name, names in seldom(text).items() if part_name not in always for name in names
        }
    rest = _reached(called.values(), part, all_of_it=True) - always
    texts, rest_texts = [*_texts(always, part), own], _texts(rest, part)
    code = "\n".join(texts)
    ground = ["local NS = KEYS[1]", *_keys_of(code)]
    if "clock" in always | rest:
        ground.append(part("clock"))
    if hints and "queues" in always | rest:
        ground.append(f"local HINTS_HELD = {HELD_SECONDS * 1000 if _HELD in own else 0}")
    if called:
        names = ", ".join(called)
        ground.append(f"local {names}")
        inner = "\n".join([*_keys_of("\n".join(rest_texts), without=code), *rest_texts])
        texts[-1:-1] = [_REST.format(names=names, text=inner), *(_STUB.format(name=name) for name in called)]
    return "\n".join([*ground, "return (function()", *texts, "end)()"])


def _texts(parts: set[str], part: _Part) -> list[str]:
    """Return the texts of parts without the basic ones, each after the parts that it uses."""
    return [part(name) for name in _ordered(parts, part) if name not in _GROUND]


def _reached(parts: Iterable[str], part: _Part, *, all_of_it: bool = False) -> set[str]:
    """Return the parts and those that they use; ``all_of_it``: also those that they use rarely."""
    found: set[str] = set()
    left = list(parts)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [*uses(part(name)), *(seldom(part(name)) if all_of_it else ())]
    return found


def _ordered(parts: set[str], part: _Part) -> list[str]:
    """Return the parts in an order in which each follows the parts that it uses, rarely or not."""
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for other in (*uses(part(name)), *seldom(part(name))):
            if other in parts and other not in order:
                add(other)
        order[name] = None

    for name in sorted(parts):
        if name not in order:
            add(name)
    return list(order)


def _keys_of(text: str, without: str = "NS") -> list[str]:
    """Return the lines of ``lua/shared/keys.lua`` for the keys that ``text`` uses and ``without`` does not."""
    lines = [(found[1], line) for line in _part("keys").splitlines() if (found := _KEY.match(line))]
    return [line for name, line in lines if name in text and name not in without]


def uses(text: str) -> list[str]:
    """Return the parts in the line ``-- Uses: keys, records.`` of a script or a part."""
    named = _USES.search(text)
    return named[1].split(", ") if named else []


def seldom(text: str) -> dict[str, list[str]]:
    """Return the functions by part in the line ``-- Seldom: waiting (park, take_slot).``

    They are defined when one of them is called for the first time.
    """
    named = _SELDOM.search(text)
    return {part: names.split(", ") for part, names in _FUNCTIONS_OF.findall(named[1])} if named else {}


@cache
def digest(package: str, name: str, *, hints: bool = False) -> str:
    """Return the SHA-1 digest of script ``name``, by which Redis knows it."""
    import hashlib  # start-up time: `runner --help` runs no script

    return hashlib.sha1(source(package, name, hints=hints).encode(), usedforsecurity=False).hexdigest()


def read_all(*, hints: bool = False) -> None:
    """Read all scripts now, because a job may make files unreachable before its process needs one."""
    for package in ("runner.ledger", "runner.delivery"):
        for file in _folder(package).glob("*.lua"):
            digest(package, file.stem, hints=hints)


def run_script(
    client: RunsScripts, namespace: str, name: str, *args: Any, package: str = "runner.ledger", hints: bool = False
) -> Any:
    """Run a script with one round trip, or two if the server does not know it yet."""
    from redis.exceptions import NoScriptError  # start-up time: whoever has a client has imported it

    try:
        return client.evalsha(digest(package, name, hints=hints), 1, namespace, *args)
    except NoScriptError:
        return client.eval(source(package, name, hints=hints), 1, namespace, *args)


def run_confirmed(
    client: Any, namespace: str, name: str, *args: Any, milliseconds: int, hints: bool = False
) -> tuple[Any, bool]:
    """Run a script and wait until a replica has its writes; return its answer, and whether a replica has them.

    This takes one round trip. The commands use one connection, because ``WAIT`` is about the writes of its connection.
    The small write in between extends it to earlier writes of other connections that the script only reported.
    """
    from redis.exceptions import NoScriptError  # start-up time: whoever has a client has imported it

    for _ in range(2):
        with client.pipeline(transaction=False) as pipe:
            pipe.evalsha(digest("runner.ledger", name, hints=hints), 1, namespace, *args)
            pipe.set(Keys(namespace).confirm, "1", ex=60)
            pipe.execute_command("WAIT", 1, milliseconds)
            answer, _, replicas = pipe.execute(raise_on_error=False)
        if not isinstance(answer, NoScriptError):
            break
        client.script_load(source("runner.ledger", name, hints=hints))
    for reply in (answer, replicas):
        if isinstance(reply, Exception):
            raise reply
    return answer, int(replicas) > 0
