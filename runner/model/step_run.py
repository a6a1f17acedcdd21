"""Names of step runs (``load``, or ``load[3]`` for an item of a step with ``each``), and counts of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.model.run import FINAL, State

OPEN: frozenset[str] = frozenset(str(state) for state in State if state not in FINAL)
"""The states of step runs that have not ended. Other keys of a step's ``counts`` are outcomes."""

_NAME = re.compile(r"(?P<step>[^\[\]]+)(?:\[(?P<item>[0-9]{1,6})\])?")


def step_name(step: str, item: int | None) -> str:
    """Return the name of a step run within its flow."""
    return step if item is None else f"{step}[{item}]"


def read_step_name(text: str) -> tuple[str, int | None] | None:
    """Return the step and the item of a name; None if the text is not the name of a step run."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    return found["step"], None if found["item"] is None else int(found["item"])


def ended(counts: Mapping[str, int]) -> int:
    """Return the number of step runs that have ended."""
    return sum(number for state, number in counts.items() if state not in OPEN)
