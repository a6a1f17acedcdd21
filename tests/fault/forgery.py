"""Messages and broadcasts that nobody should obey: what a stranger with access to Redis could write.

A canary, a task that writes a line, must never run, whatever is asked for and however; the worker stays up, and
the good message behind completes.
"""

from __future__ import annotations

import json
import pickle
from base64 import b64encode
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

CANARY = "canary.shared"

CANARY_MODULE = '''
"""Declares a task that no job names, and is imported by one that is declared."""
from celery import shared_task
from work import canary as leave_a_line, run

WITNESS = {witness!r}

@shared_task(name="canary.shared")
def canary(*args, **kwargs):
    leave_a_line(WITNESS)
'''

TASKS = (
    CANARY,
    "canary_tasks.canary",
    "canary",
    "work.canary",
    "os.system",
    "celery.map",
    "celery.starmap",
    "celery.chunks",
    "celery.group",
    "celery.chain",
    "celery.chord",
    "celery.chord_unlock",
    "celery.accumulate",
    "celery.backend_cleanup",
    "",
    "work",
    "../work",
    None,
    7,
    ["work"],
    {"work": 1},
)

ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    10**40,
    "",
    "x" * 5000,
    "\x00",
    "\ud800",
    "💥",
    [],
    {},
    [[]] * 50,
    {"a": {"b": {"c": []}}},
    "1970-01-01T00:00:00",
    "not a date",
    "application/x-python-serialize",
    "application/x-yaml",
    "binary",
    "zlib",
    CANARY,
)

HEADERS = (
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
    "compression",
    "runner",
    "digest",
    "sent_event",
    "reply_to",
    "correlation_id",
    "delivery_info",
    "hostname",
    "claim",
    "is_eager",
    "called_directly",
    "__proto__",
)


def signature(task: Any = CANARY) -> dict[str, Any]:
    """Return a link to the canary, as Celery writes one."""
    return {
        "task": task,
        "args": [],
        "kwargs": {},
        "options": {"task_id": str(uuid4())},
        "subtask_type": None,
        "immutable": True,
    }


def envelope(
    *, task: Any, run_id: Any, params: Any = None, ours: bool = True, embed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a sound message of Celery's protocol 2, to be spoiled."""
    links = {"callbacks": None, "errbacks": None, "chain": None, "chord": None, **(embed or {})}
    body = [[], {} if params is None else params, links]
    return {
        "headers": {"lang": "py", "task": task, "id": run_id, "root_id": run_id, **({"runner": 1} if ours else {})},
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "body": b64encode(json.dumps(body).encode()).decode(),
        "properties": {
            "correlation_id": run_id if isinstance(run_id, str) else "x",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "default"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "x",
        },
    }


class _Reduced:
    def __init__(self, witness: Path) -> None:
        self._command = f"echo canary 0 0 0 start 0 >> {witness}"

    def __reduce__(self) -> Any:
        import os

        return os.system, (self._command,)


def by_hand(witness: Path, run_id: str, known: str) -> Iterator[bytes]:
    """Yield the forgeries that somebody would think of.

    Args:
        witness: where the canary would write.
        run_id: an id that no run has.
        known: the id of a run that waits, with a message of its own.
    """
    for task in TASKS:
        for ours in (True, False):
            yield dump(envelope(task=task, run_id=str(uuid4()), ours=ours))
    good = {"kind": "good", "seconds": 0}
    inner = {"task": signature(), "it": [[]], "args": [], "kwargs": {}, "tasks": [signature()]}
    for task in ("celery.map", "celery.starmap", "celery.chunks", "celery.group", "celery.chain"):
        yield dump(envelope(task=task, run_id=str(uuid4()), params=inner, ours=False))
    for name, value in (
        ("callbacks", [signature()]),
        ("errbacks", [signature()]),
        ("chain", [signature()]),
        ("chord", signature()),
    ):
        for identity, ours in ((known, True), (known, False), (run_id, True), (str(uuid4()), False)):
            for kind in ("good", "wrong"):
                yield dump(
                    envelope(
                        task="work", run_id=identity, params={**good, "kind": kind}, ours=ours, embed={name: value}
                    )
                )
    for params in ({"witness": "/tmp/x"}, {"kind": 7}, [1], "x", None, {"kind": "good", "task": CANARY}):
        yield dump(envelope(task="work", run_id=str(uuid4()), params=params, ours=False))
    # Protocol 1: the task stands in the body.
    for task in (CANARY, "work", "canary"):
        first = envelope(task=task, run_id=str(uuid4()))
        old = {"task": task, "id": str(uuid4()), "args": [], "kwargs": {}, "retries": 0, "callbacks": [signature()]}
        for headers in ({}, {"runner": 1}, {"runner": 1, "id": known}):
            first["headers"] = headers
            first["body"] = b64encode(json.dumps(old).encode()).decode()
            yield dump(first)
    # Pickle: it runs while it is read.
    for ours in (True, False):
        pickled = envelope(task="work", run_id=str(uuid4()), ours=ours)
        pickled["body"] = b64encode(pickle.dumps(_Reduced(witness))).decode()
        for kind in ("application/x-python-serialize", "pickle", "application/json", "application/data"):
            for encoding in ("binary", "utf-8"):
                yield dump({**pickled, "content-type": kind, "content-encoding": encoding})
    yield from (b"", b"\x00", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe\xfa", b"{}" * 1000, b"[" * 3000)
    yield b'{"headers": {}, "properties": {"delivery_info": {}}, "body": ""}'
    yield b'{"headers": {"runner": 1}, "properties": {"delivery_info": {}, "body_encoding": "rot13"}, "body": "x"}'
    yield dump(envelope(task="work", run_id=str(uuid4())))[:-20]


def mutated(random: Random, known: str) -> bytes:
    """Return a message that was sound, with a few random changes."""
    task = random.choice(["work", "work", CANARY, "canary"])
    run_id = random.choice([str(uuid4()), known])
    embed = random.choice([None, {random.choice(["callbacks", "errbacks", "chain"]): [signature()]}])
    message = envelope(
        task=task, run_id=run_id, params={"kind": "good"}, ours=random.choice([True, False]), embed=embed
    )
    for _ in range(random.randint(1, 4)):
        where = random.random()
        if where < 0.4:
            _put(message.get("headers"), random.choice(HEADERS), random)
        elif where < 0.6:
            _spoil(message, random)
        elif where < 0.8:
            body = [[], {"kind": "good"}, {}]
            _spoil(body, random)
            message["body"] = b64encode(json.dumps(body).encode()).decode()
        else:
            _put(message.get("properties"), random.choice(["delivery_info", "body_encoding", "priority"]), random)
    raw = dump(message)
    if random.random() < 0.2:
        at = random.randrange(len(raw))
        raw = raw[:at] + random.randbytes(random.randint(0, 4)) + raw[at + random.randint(0, 4) :]
    return raw


def _put(mapping: Any, name: str, random: Random) -> None:
    if isinstance(mapping, dict):
        mapping[name] = deepcopy(random.choice(ODD))


def _spoil(value: Any, random: Random) -> None:
    """Replace or remove one random part of a nested value."""
    while isinstance(value, dict | list) and value:
        key = random.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or random.random() < 0.5:
            if random.random() < 0.3:
                del value[key]
            else:
                value[key] = deepcopy(random.choice(ODD))
            return
        value = inner


def dump(message: Any) -> bytes:
    """Return a message as it would stand in a list."""
    return json.dumps(message).encode("utf-8", "surrogatepass")


BROADCASTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("shutdown", {}),
    ("pool_restart", {"modules": ["canary_tasks"], "reload": True}),
    ("pool_shrink", {"n": 10}),
    ("pool_grow", {"n": 1}),
    ("autoscale", {"max": 0, "min": 0}),
    ("add_consumer", {"queue": "strange"}),
    ("cancel_consumer", {"queue": "default"}),
    ("cancel_consumer", {"queue": "celery"}),
    ("rate_limit", {"task_name": "work", "rate_limit": "1/h"}),
    ("time_limit", {"task_name": "work", "soft": 0.001, "hard": 0.001}),
    ("revoke", {"task_id": ["KNOWN"], "terminate": True, "signal": "SIGKILL"}),
    ("terminate", {"task_id": ["KNOWN"], "signal": "SIGKILL"}),
    ("revoke_by_stamped_headers", {"headers": {"id": "KNOWN"}, "terminate": True}),
    ("election", {"id": "x", "topic": "task", "action": signature()}),
    ("enable_events", {}),
    ("disable_events", {}),
    ("memdump", {}),
    ("memsample", {}),
    ("objgraph", {"num": 1, "max_depth": 1, "type": "Request"}),
    ("dump_tasks", {"taskinfoitems": ["__class__"]}),
    ("conf", {"with_defaults": True}),
    ("hello", {"from_node": "x", "revoked": {"KNOWN": 1}}),
    ("report", {}),
    ("clock", {}),
    ("query_task", {"ids": [{"a": 1}]}),
    ("ping", {"unexpected": 1}),
    ("stats", {}),
    ("no_such_command", {}),
    ("__class__", {}),
)
