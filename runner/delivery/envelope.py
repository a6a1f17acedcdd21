"""What a worker reads of a message, before Kombu and Celery see it.

Anybody who can write to Redis can write anything into a queue. Kombu and Celery trust what they find, and an
exception in the main loop ends the worker; so only messages of the one form that our submitters, and plain Celery
clients on Redis, write are passed on, and only the fields that are looked at.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from runner.ledger.message import MARK

LONGEST_ID = 128
LONGEST_NAME = 512
LONGEST_WORDS = 4096
"""Characters of ``argsrepr`` and its like, which only logs and Flower show."""

_WORDS = ("argsrepr", "kwargsrepr", "origin", "root_id")


class UnreadableError(Exception):
    """The message has another form; the text says what is wrong with it. ``run_id`` if it is one of ours."""

    def __init__(self, why: str, run_id: str | None = None) -> None:
        super().__init__(why)
        self.run_id = run_id


def read_envelope(raw: bytes | str, token: str) -> dict[str, Any]:
    """Return a message as Kombu takes it, with ``token`` as its delivery tag.

    Raises:
        UnreadableError: it is not what a submitter writes.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is no JSON: {error}") from error
    headers = found.get("headers") if isinstance(found, dict) else None
    if not isinstance(headers, dict):
        raise UnreadableError("it has no headers")
    run_id = headers.get("id")
    if not isinstance(run_id, str) or not 0 < len(run_id) <= LONGEST_ID or not run_id.isprintable():
        raise UnreadableError("its id is no text of 1 to 128 printable characters")
    ours = run_id if MARK in headers else None
    name = headers.get("task")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise UnreadableError("it names no task", ours)
    _check_body(found, ours)
    return {
        "headers": _headers(headers, run_id, name),
        "body": found["body"],
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
    if headers.get("group") or headers.get("chord"):
        passed["group"] = True
    for word in _WORDS:
        if isinstance(headers.get(word), str):
            passed[word] = headers[word][:LONGEST_WORDS]
    return passed


def _check_body(found: Mapping[str, Any], ours: str | None) -> None:
    properties = found.get("properties")
    if not isinstance(properties, dict) or properties.get("body_encoding") != "base64":
        raise UnreadableError("its body is not in base64", ours)
    if found.get("content-type") != "application/json" or found.get("content-encoding") not in ("utf-8", None):
        raise UnreadableError(f"its body is {str(found.get('content-type'))[:100]!r}, only JSON is read", ours)
    try:
        body = json.loads(b64decode(found.get("body") or "", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise UnreadableError(f"its body cannot be decoded: {error}", ours) from error
    if not isinstance(body, list) or len(body) != 3:
        raise UnreadableError("it does not follow Celery's message protocol 2", ours)
    args, kwargs, embed = body
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not isinstance(embed, dict | None):
        raise UnreadableError("its arguments have the wrong types", ours)
