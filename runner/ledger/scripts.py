"""Loads the Lua scripts. Each is the parts of ``lua/shared`` that it names, followed by the script's own file.

Redis runs all of a script anew each time, definitions too: a short one is fast, and leaves little garbage behind, which
Redis collects while everybody waits.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, Protocol


class RunsScripts(Protocol):
    """What a script needs of a Redis client."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any: ...
    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any: ...


_USES = re.compile(r"^-- Uses: ([a-z, ]+)\.$", re.MULTILINE)


@cache
def source(package: str, name: str) -> str:
    """Return the whole text of script ``name`` of a package (``runner.ledger`` or ``runner.delivery``)."""
    own = files(package).joinpath("lua", f"{name}.lua").read_text("utf-8")
    # `#!lua flags=allow-oom` must be the first line: the script gives back more than it takes, so it runs also
    # when Redis has no memory left.
    flags, own = own.split("\n", 1) if own.startswith("#!") else ("#!lua", own)
    return f"{flags}\n{shared(*uses(own))}\n{own}"


def shared(*parts: str) -> str:
    """Return the text of parts of ``lua/shared`` and of those that these use, each once and after what it uses."""
    texts: dict[str, str] = {}

    def add(part: str) -> None:
        if part not in texts:
            text = files("runner.ledger").joinpath("lua", "shared", f"{part}.lua").read_text("utf-8")
            for other in uses(text):
                add(other)
            texts[part] = text

    for part in parts:
        add(part)
    return "\n".join(texts.values())


def uses(text: str) -> list[str]:
    """Return the parts that a script or a part says it uses: ``-- Uses: keys, records.``"""
    named = _USES.search(text)
    return named[1].split(", ") if named else []


@cache
def digest(package: str, name: str) -> str:
    """Return the SHA-1 that Redis knows script ``name`` by."""
    import hashlib  # kept out of start-up: `runner --help` runs no script

    return hashlib.sha1(source(package, name).encode(), usedforsecurity=False).hexdigest()


def run_script(client: RunsScripts, namespace: str, name: str, *args: Any, package: str = "runner.ledger") -> Any:
    """Run a script in one round trip, or two the first time a server sees it."""
    from redis.exceptions import NoScriptError  # a redis client exists already, so this costs nothing

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
    from redis.exceptions import NoScriptError  # a redis client exists already, so this costs nothing

    for _ in range(2):
        with client.pipeline(transaction=False) as pipe:
            pipe.evalsha(digest("runner.ledger", name), 1, namespace, *args)
            pipe.set(f"{namespace}:confirm", "1", ex=60)
            pipe.execute_command("WAIT", 1, milliseconds)
            answer, _, replicas = pipe.execute(raise_on_error=False)
        if not isinstance(answer, NoScriptError):
            break
        client.script_load(source("runner.ledger", name))
    for each in (answer, replicas):
        if isinstance(each, Exception):
            raise each
    return answer, int(replicas) > 0
