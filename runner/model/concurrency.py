"""The ``concurrency:`` section of a job: how many of its runs may be under way at once, over the whole fleet."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from runner._dataclass import dataclass
from runner.model.message import hint, message_of
from runner.model.option import Choice, Integer, Path, Report, Text, did_you_mean, option
from runner.model.template import names, render

Policy = Literal["queue", "skip", "replace"]

LONGEST_KEY = 128
"""Characters of a rendered key; a longer one is known by its digest."""

RUN_NAMES = ("run.id", "run.slot")
"""What of a run a key may name, beside its params."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """``limit`` runs at once for each value of ``key``."""

    limit: int = option(
        Integer(1, 10_000), help="How many runs may be under way at once, over all workers.", examples=(1,)
    )
    policy: Policy = option(
        Choice(("queue", "skip", "replace"), (("Forbid", "skip"), ("Allow", "queue"), ("latest", "replace"))),
        default="queue",
        help="What becomes of one more: queue: it waits for its turn; skip: it ends REVOKED, skipped; replace: the "
        "oldest is terminated and ends REVOKED, replaced.",
    )
    key: str | None = option(
        Text(min_length=1, max_length=512),
        default=None,
        help="Runs with different keys do not count against each other.",
        examples=("${params.region}",),
    )

    def group(self, job: str, params: Mapping[str, Any], *, run_id: str, slot: str = "") -> str:
        """Return the name of the group that a run is counted in."""
        return group_of(job, self.key, params, run_id=run_id, slot=slot)


def group_of(job: str, key: str | None, params: Mapping[str, Any], *, run_id: str, slot: str) -> str:
    """Return the name of the group that a key puts a run of a job into: of all runs of the job without one."""
    if key is None:
        return job
    values = {"run.id": run_id, "run.slot": slot, **{f"params.{name}": value for name, value in params.items()}}
    # In a text, so that a key that is one placeholder becomes text too.
    rendered = render(f"{job}:{key}", lambda name: values.get(name, ""))
    if len(rendered) <= len(job) + 1 + LONGEST_KEY and rendered.isprintable():
        return str(rendered)
    return f"{job}:sha256:{hashlib.sha256(rendered.encode()).hexdigest()}"


CONCURRENCY_ALIASES = {
    "max": "limit",
    "max_concurrency": "limit",
    "maxActiveRuns": "limit",
    "max_instances": "limit",
    "group": "key",
    "cancel-in-progress": hint("write policy: replace"),
    "concurrencyPolicy": "policy",
    "behavior": "policy",
    "Forbid": hint("write policy: skip"),
}


def check_key(key: str, params: Mapping[str, Any], path: Path, report: Report) -> bool:
    """Report what is wrong with the placeholders of a key; return whether nothing is."""
    known = [*RUN_NAMES, *(f"params.{name}" for name in params)]
    try:
        unknown = [name for name in names(key) if name not in known]
    except ValueError as error:
        report(path, message_of(error))
        return False
    for name in unknown:
        guess = did_you_mean(name, known) or f", use one of {', '.join(known)}"
        report(path, f"${{{name}}} is not known here{guess}")
    return not unknown
