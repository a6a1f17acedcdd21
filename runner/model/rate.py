"""The ``rate:`` section of a job: how many of its runs may start within some time, on all workers together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.concurrency import group_of
from runner.model.message import hint
from runner.model.option import Duration, Integer, Text, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most ``limit`` starts in any ``per`` seconds for each value of ``key``."""

    limit: int = option(
        Integer(1, 10_000), help="How many runs may start within per, on all workers together.", examples=(100,)
    )
    per: float = option(
        Duration(0.1),
        help="The length of the time window; it slides, so no window of this length has more starts than limit.",
        examples=("1m",),
    )
    key: str | None = option(
        Text(min_length=1, max_length=512),
        default=None,
        help="A text with placeholders; runs with different keys are counted separately.",
        examples=("${params.tenant}",),
    )

    def group(self, job: str, params: Mapping[str, Any], *, run_id: str, slot: str = "") -> str:
        """Return the name of the group in which the start of a run is counted."""
        return group_of(job, self.key, params, run_id=run_id, slot=slot)


RATE_ALIASES = {
    "max": "limit",
    "count": "limit",
    "burst": hint("up to limit runs may start at once"),
    "period": "per",
    "interval": "per",
    "duration": "per",
    "window": "per",
    "within": "per",
    "group": "key",
}
