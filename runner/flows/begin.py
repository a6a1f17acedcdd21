"""Begin a flow that a taker has started."""

from __future__ import annotations

from runner.ledger.flows import begin_flow
from runner.ledger.store import Store


def begin(ledger: Store, run_id: str, token: str) -> bool:
    """Begin a flow and release its claim, so that no process holds it. Then call :func:`runner.flows.advance.advance`.

    Return False if ``token`` is stale because another taker has begun the flow.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return begin_flow(ledger, run_id, token)
