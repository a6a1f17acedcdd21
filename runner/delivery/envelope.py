"""Read the envelope of a message before Kombu and Celery see it.

Anybody who can write to Redis can write anything into a queue. Kombu and Celery trust the content, and an exception in
the main loop ends the worker. So only messages in the form that the runner and plain Celery clients write are passed
on, and only the fields that are checked here.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from runner.ledger.message import MARK
from runner.model.run_id import ADVICE, is_run_id

LONGEST_NAME = 512
LONGEST_WORDS = 4096
"""The maximum length of ``argsrepr`` and ``kwargsrepr``, which only logs and Flower show."""

_WORDS = ("argsrepr", "kwargsrepr", "origin")
_OPTIONS = {
    "shadow": "shadow",
    "eta": "eta",
    "expires": "expires",
    "group": "group_id",
    "retries": "retries",
    "ignore_result": "ignore_result",
    "replaced_task_nesting": "replaced_task_nesting",
    "stamped_headers": "stamped_headers",
    "compression": "compression",
}
"""The headers that options of ``send_task`` set, with the names of the options."""
_NO_OPTIONS = frozenset(
    ("lang", "task", "id", "group_index", "timelimit", "root_id", "parent_id", "stamps", *_WORDS, MARK)
)
"""The other headers that Celery sets. The ids of a client's own tasks do not matter for the run."""
_NO_BODY = "W1tdLCB7fSwge31d"
"""``[[], {}, {}]``: the placeholder for a body that is not read."""


class UnreadableError(Exception):
    """The message has another form; the text says what is wrong. ``run_id`` is set if it is a message of a run."""

    def __init__(self, why: str, run_id: str | None = None) -> None:
        super().__init__(why)
        self.run_id = run_id


def read_envelope(raw: bytes | str, token: str) -> dict[str, Any]:
    """Return a message in Kombu's form, with ``token`` as its delivery tag.

    Raises:
        UnreadableError: the message has another form.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is not JSON: {error}") from error
    headers = found.get("headers") if isinstance(found, dict) else None
    if not isinstance(headers, dict):
        raise UnreadableError("it has no headers")
    run_id = headers.get("id")
    if not is_run_id(run_id):
        raise UnreadableError(f"its id is not a valid run id: {ADVICE}")
    ours = run_id if MARK in headers else None
    name = headers.get("task")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise UnreadableError("it names no task", ours)
    # Nothing else in a run's own message is read: all options are in the record.
    asked = {} if ours else _asked(headers, found)
    body = _NO_BODY if ours or "serializer" in asked or "compression" in asked else _check_body(found)
    return {
        "headers": {**_headers(headers, run_id, name), **({"asked": asked} if asked else {})},
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {
            "correlation_id": run_id,
            "delivery_tag": token,
            "delivery_info": {"exchange": "", "routing_key": ""},
            "body_encoding": "base64",
        },
    }


def _headers(headers: Mapping[str, Any], run_id: str, name: str) -> dict[str, Any]:
    passed: dict[str, Any] = {"id": run_id, "task": name, "lang": "py"}
    if MARK in headers:
        passed[MARK] = 1
        if isinstance(headers.get("digest"), str):
            passed["digest"] = headers["digest"][:LONGEST_NAME]
    if is_run_id(headers.get("root_id")):
        passed["root_id"] = headers["root_id"]
    for word in _WORDS:
        if isinstance(headers.get(word), str):
            passed[word] = headers[word][:LONGEST_WORDS]
    return passed


def _asked(headers: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options in a plain client's message, by their names in ``send_task``.

    Celery sends a neutral value for an option that is not set; for the priority it is 0.
    """
    asked = {option: headers[name] for name, option in _OPTIONS.items() if headers.get(name) is not None}
    others = {name: value for name, value in headers.items() if name not in _OPTIONS and name not in _NO_OPTIONS}
    if others:
        asked["headers"] = others
    limits = headers.get("timelimit")
    if isinstance(limits, list) and len(limits) == 2:
        asked |= {name: limit for name, limit in zip(("time_limit", "soft_time_limit"), limits, strict=True) if limit}
    elif limits:
        asked["time_limit"] = limits
    properties = found.get("properties")
    if isinstance(properties, dict) and properties.get("priority"):
        asked["priority"] = properties["priority"]
    if found.get("content-type") != "application/json" and isinstance(found.get("content-type"), str):
        asked["serializer"] = found["content-type"]
    return asked


def _check_body(found: Mapping[str, Any]) -> str:
    """Return the body of a message after checking that it is JSON of Celery's protocol 2."""
    properties = found.get("properties")
    if not isinstance(properties, dict) or properties.get("body_encoding") != "base64":
        raise UnreadableError("its body is not in base64")
    if found.get("content-type") != "application/json" or found.get("content-encoding") not in ("utf-8", None):
        raise UnreadableError(f"its body is {str(found.get('content-type'))[:100]!r}, only JSON is read")
    try:
        body = json.loads(b64decode(found.get("body") or "", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise UnreadableError(f"its body cannot be decoded: {error}") from error
    if not isinstance(body, list) or len(body) != 3:
        raise UnreadableError("it does not follow Celery's message protocol 2")
    args, kwargs, embed = body
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise UnreadableError("its arguments have the wrong types")
    return str(found["body"])
