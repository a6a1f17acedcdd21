"""Write numbers with nouns in messages."""

from __future__ import annotations


def things(number: int, noun: str) -> str:
    """Return ``1 run`` or ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
