"""The ``concurrency:`` section of a job: how many of its runs may be under way at once, on all workers together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from runner._dataclass import dataclass
from runner.model.message import advise, hint, message_of, suggest
from runner.model.option import Choice, Integer, Path, Report, Text, closest, option
from runner.model.template import names, render

Policy = Literal["queue", "skip", "replace"]

LONGEST_KEY = 128
"""Characters of a rendered key; a longer one is replaced by its digest."""

RUN_NAMES = ("run.id", "run.slot")
"""The placeholders of the run that a key may have, besides its params."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """At most ``limit`` runs at once for each value of ``key``."""

    limit: int = option(
        Integer(1, 10_000), help="How many runs may be under way at once, on all workers together.", examples=(1,)
    )
    policy: Policy = option(
        Choice(("queue", "skip", "replace"), (("Forbid", "skip"), ("Allow", "queue"), ("latest", "replace"))),
        default="queue",
        help="What happens to one more run: queue: it waits for its turn; skip: it ends REVOKED, skipped; replace: "
        "the oldest run is terminated and ends REVOKED, replaced.",
    )
    key: str | None = option(
        Text(min_length=1, max_length=512),
        default=None,
        help="A text with placeholders; runs with different keys are counted separately.",
        examples=("${params.region}",),
    )

    def group(self, job: str, params: Mapping[str, Any], *, run_id: str, slot: str = "") -> str:
        """Return the name of the group in which a run is counted."""
        return group_of(job, self.key, params, run_id=run_id, slot=slot)


def group_of(job: str, key: str | None, params: Mapping[str, Any], *, run_id: str, slot: str) -> str:
    """Return the name of the group of a run; without a key, all runs of the job are one group."""
    if key is None:
        return job
    values = {"run.id": run_id, "run.slot": slot, **{f"params.{name}": value for name, value in params.items()}}
    # Rendered as part of a longer text, so that a key that is a single placeholder becomes text too.
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
    """Report the invalid placeholders of a key; return whether there are none."""
    known = [*RUN_NAMES, *(f"params.{name}" for name in params)]
    try:
        unknown = [name for name in names(key) if name not in known]
    except ValueError as error:
        report(path, message_of(error))
        return False
    for name in unknown:
        close, what = closest(name, known), f"${{{name}}} is not known here"
        if close is None:
            report(path, advise(what, f"use {' or '.join(f'${{{one}}}' for one in known)}"))
        else:
            meant = f"${{{close}}}"
            report(path, suggest(what, meant, replacement=meant).after("", f"${{{name}}}"))
    return not unknown
