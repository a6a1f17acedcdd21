"""Begin a flow that a taker has started."""

from __future__ import annotations

from runner.ledger.flows import begin_flow
from runner.ledger.store import Store


def begin(ledger: Store, run_id: str, token: str) -> bool:
    """Begin a flow, and let go of it: from now on nobody holds it. Then :func:`runner.flows.advance.advance` it.

    Return False if ``token`` is stale: somebody else has begun it.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return begin_flow(ledger, run_id, token)
