"""The message of a run: Celery's protocol 2 in Kombu's envelope for Redis, written without either.

It is marked as ours (header ``runner``) and carries the job's name, the params and the spec's
digest; nothing else in it is acted upon. Format: Celery's "Message Protocol" page, version 2, and
``kombu.transport.virtual.Channel.prepare_message``.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

MARK = "runner"
"""The header that our messages carry."""

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_REPR_LENGTH = 1024


def write_message(*, run_id: str, job: str, params: Mapping[str, Any], digest: str, queue: str, priority: int) -> str:
    """Return the message of a run as it stands in a queue."""
    body = json.dumps([[], dict(params), _EMBED], separators=(",", ":")).encode()
    shown = repr(dict(params))
    return json.dumps(
        {
            "headers": {
                MARK: 1,
                "lang": "py",
                "task": job,
                "id": run_id,
                "root_id": run_id,
                "digest": digest,
                "argsrepr": "()",
                "kwargsrepr": shown if len(shown) <= _REPR_LENGTH else shown[:_REPR_LENGTH] + "…",
            },
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "body": b64encode(body).decode(),
            "properties": {
                "correlation_id": run_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": priority,
                "body_encoding": "base64",
                "delivery_tag": run_id,
            },
        },
        separators=(",", ":"),
    )
