"""The commands of Celery's remote control that a worker obeys and a client may send."""

from __future__ import annotations

LOOKING = frozenset(
    {
        "ping",
        "stats",
        "active",
        "reserved",
        "scheduled",
        "revoked",
        "registered",
        "active_queues",
        "query_task",
        "conf",
        "revoke",
        "terminate",
    }
)
"""The commands of ``worker.remote_control: safe``: they look, or act on the ledger alone."""

ASKED_IN_PASSING = frozenset({"enable_events", "disable_events", "heartbeat", "hello"})
"""Commands that tools send again and again without being asked to: refused as all others, and not worth an error."""


def refusal(command: str) -> str:
    """Return the reason why ``command`` is refused under ``remote_control: safe``."""
    return f"{command} is refused: worker.remote_control is safe in runner.yaml, and full allows it"
