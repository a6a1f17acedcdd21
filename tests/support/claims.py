"""Claim a message like a taker, without starting its run."""

from __future__ import annotations

from collections.abc import Sequence

from runner.ledger.ledger import Ledger


def claim(
    ledger: Ledger, token: str, lease: float, worker: str, queues: Sequence[str] = ("default",)
) -> tuple[str, str] | None:
    """Claim the next message under ``token``; return its queue and text, or None if there is none.

    The script starts no run, because this worker knows no job.
    """
    answer = ledger.script("take", "", "", "", token, round(lease * 1000), worker, 1, "no-jobs", *queues)
    return (answer[2], answer[4]) if answer[1] == "held" else None
