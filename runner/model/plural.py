"""Write numbers with nouns in messages."""

from __future__ import annotations


def things(number: int, noun: str) -> str:
    """Return ``1 run``, ``2 runs``, or ``2 processes``."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{'' if number == 1 else ending}"
