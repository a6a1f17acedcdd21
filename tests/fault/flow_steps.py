"""What the steps of attacked flows do. Copied into the project under test, beside ``work.py``.

What a flow is to do follows from its id, and what a step run is to do from its own: both the step and the judge read it
there.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, NamedTuple

ITEMS = 3
FAN = 50


class Plan(NamedTuple):
    """What becomes of a flow if no process dies."""

    go: bool
    """What the ``if`` of ``maybe`` says."""
    shaky_fails: bool
    join_fails: bool
    item_fails: bool
    """Item 1 of ``each``."""


def plan(flow: str) -> Plan:
    """Return the end of the flow with this id."""
    digits = bytes.fromhex(flow.replace("-", ""))
    return Plan(digits[0] < 128, digits[1] < 64, digits[2] < 26, digits[3] < 13)


def retried(run: str) -> bool:
    """Whether the first attempt of this step run fails."""
    return int(run[:2], 16) < 26


def fan_item_fails(item: int) -> bool:
    """Whether an item of the wide flow fails."""
    return item % 7 == 3


def _perform(witness: str, seconds: float, *, wrong: bool = False, again: bool = True) -> dict[str, Any]:
    from work import perform  # type: ignore[import-not-found]

    from runner import current_run

    current = current_run()
    kind = "wrong" if wrong else "again" if again and retried(str(current.id)) else "good"
    perform(witness, current.id, current.attempt, kind, seconds)
    # Other attempts of the same run return something else.
    return {"run": current.id, "attempt": current.attempt, "pid": os.getpid(), "at": time.monotonic()}


def _flow() -> str:
    from runner import current_run

    flow = current_run().flow
    assert flow is not None
    return str(flow.id)


def first(witness: str, seconds: float) -> dict[str, Any]:
    """Return the items, and what the ``if`` reads."""
    return {**_perform(witness, seconds), "items": list(range(ITEMS)), "go": plan(_flow()).go}


def step(witness: str, seconds: float) -> dict[str, Any]:
    """Be a step that succeeds."""
    return _perform(witness, seconds)


def once(witness: str, seconds: float) -> dict[str, Any]:
    """Be a step that must not start twice, not even for a retry."""
    return _perform(witness, seconds, again=False)


def shaky(witness: str, seconds: float) -> dict[str, Any]:
    """Be a step that may fail."""
    return _perform(witness, seconds, wrong=plan(_flow()).shaky_fails)


def item(witness: str, seconds: float, item: int, fan: bool = False) -> dict[str, Any]:
    """Be an item."""
    wrong = fan_item_fails(item) if fan else plan(_flow()).item_fails and item == 1
    return {**_perform(witness, seconds, wrong=wrong), "item": item}


def join(witness: str, seconds: float, results: list[Any], fan: bool = False) -> dict[str, Any]:
    """Write down what was seen of the items."""
    from runner import current_run

    line = json.dumps({"run": current_run().id, "flow": _flow(), "saw": results}) + "\n"
    descriptor = os.open(f"{witness}.joins", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
    return _perform(witness, seconds, wrong=not fan and plan(_flow()).join_fails)
