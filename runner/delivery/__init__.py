"""Bring messages to workers without losing any: claim, lease, beat.

The seam for another broker is here: what the rest of the worker uses of Redis' queues is a message
whose ``delivery_tag`` is the claim's token, and :class:`~runner.delivery.claims.Claims`.
"""
