"""Claiming a message as a taker does, without starting its run."""

from __future__ import annotations

from collections.abc import Sequence

from runner.ledger.ledger import Ledger


def claim(
    ledger: Ledger, token: str, lease: float, worker: str, queues: Sequence[str] = ("default",)
) -> tuple[str, str] | None:
    """Return the queue and the text of the next message, which is held under ``token`` then; None if none waits.

    The worker knows no job, so that the script starts nothing.
    """
    answer = ledger.script("take", "", "", "", token, round(lease * 1000), worker, 1, "no-jobs", *queues)
    return (answer[2], answer[4]) if answer[1] == "held" else None
