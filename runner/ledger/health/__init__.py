"""Check the server, the fleet, and the ledger, and repair them.

A check returns findings. Scripts compare records with indexes and runs with messages, a batch at a time, because live
workers move runs meanwhile and a long script would block Redis.
"""

from runner.ledger.health.finding import Finding, Level

__all__ = ["Finding", "Level"]
