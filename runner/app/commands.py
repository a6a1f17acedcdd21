"""The commands of Celery's remote control that workers accept and clients may send."""

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
"""The commands of ``worker.remote_control: safe``, which are read-only or change only the ledger."""

ASKED_IN_PASSING = frozenset({"enable_events", "disable_events", "heartbeat", "hello"})
"""Commands that tools send regularly by themselves: refused like others, but without an error."""


def refusal(command: str) -> str:
    """Return the reason why ``command`` is refused under ``remote_control: safe``."""
    return f"{command} is refused: worker.remote_control is safe in runner.yaml, and full allows it"
