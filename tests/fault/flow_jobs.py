"""The flows under attack, as ``jobs.d`` declares them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fault.flow_steps import FAN

TEN_STEPS = "ten-steps"
WIDE = "wide"


def flow_jobs(witness: Path) -> dict[str, Any]:
    """Return a flow of ten steps that has every kind of edge, and one with fifty items."""
    shared: dict[str, Any] = {
        "params": {"kind": {"type": "string", "required": True}, "seconds": {"type": "number", "default": 0}},
        "retry": {"max_retries": 3, "delay": "200ms", "jitter": False, "for": ["ConnectionError"]},
        "retention": {"runs": 1_000_000},
    }

    def step(task: str, *needs: str, **options: Any) -> dict[str, Any]:
        kwargs = {"witness": str(witness), "seconds": "${params.seconds}", **options.pop("kwargs", {})}
        return {"needs": list(needs), "task": f"flow_steps:{task}", "kwargs": kwargs, **options}

    return {
        TEN_STEPS: {
            **shared,
            "steps": {
                "first": step("first"),
                "each": step(
                    "item",
                    "first",
                    each="${steps.first.result.items}",
                    at_once=2,
                    kwargs={"item": "${item}"},
                ),
                "join": step("join", "each", kwargs={"results": "${steps.each.results}"}),
                "once": step("once", "first", delivery="at_most_once"),
                "shaky": step("shaky", "first", may_fail=True),
                "merge": step("step", "once", "shaky"),
                "maybe": step("step", "merge", **{"if": "${steps.first.result.go}"}),
                "after": step("step", "maybe", "join"),
                "alarm": step("step", "shaky", when="failed"),
                "last": step("step", "after", "alarm", "each", when="ended"),
            },
        },
        WIDE: {
            **shared,
            "steps": {
                "each": step(
                    "item", each=list(range(FAN)), at_once=8, may_fail=True, kwargs={"item": "${item}", "fan": True}
                ),
                "join": step("join", "each", kwargs={"results": "${steps.each.results}", "fan": True}),
            },
        },
    }
