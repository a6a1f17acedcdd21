"""Whether the server, the fleet and the ledger are sound, and how what is not is mended.

A check returns findings. Whatever is compared (a record with an index, a run with its message) is compared in one
script, a portion at a time: live workers move runs meanwhile, and Redis is never held up.
"""

from runner.ledger.health.finding import Finding, Level

__all__ = ["Finding", "Level"]
