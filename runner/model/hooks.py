"""The ``hooks:`` and ``unique:`` sections of a job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import advise, hint
from runner.model.option import INVALID, Duration, Integer, ListOf, Path, Report, Section, Text, option

JOB_NAME = Text(
    pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$",
    advice="use 1 to 64 lower-case letters, digits, dots, dashes, or underscores, a letter or digit first and last",
    is_name=True,
)


JOB_REFERENCE = replace(JOB_NAME, is_name=False)
"""The name of another job; a similar one is not suggested, because it need not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A job to submit, and the number of failures in a row from which it is submitted."""

    job: str = option(JOB_REFERENCE, help="The job to submit.", examples=("page-oncall",))
    after: int = option(
        Integer(1, 1_000_000),
        default=1,
        help="Fire only if at least this many runs in a row ended in FAILURE; under recovered, before the SUCCESS.",
        examples=(3,),
    )


HOOK = Section(Hook, {"name": "job", "task": "job", "from": "after", "count": "after", "failures": "after"})


@dataclass(frozen=True, slots=True)
class HookEntry:
    """A job's name, or a mapping with ``job`` and, if ``counts``, ``after``: a number of failures in a row."""

    counts: bool

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            name = JOB_REFERENCE.read(value, path, report)
            return INVALID if name is INVALID else Hook(job=name)
        if not self.counts and value.get("after") is not None:
            remedy = "remove it, or write the hook under failure or recovered"
            report((*path, "after"), advise("counts runs that ended in FAILURE", remedy), on_key=True)
            return INVALID
        return HOOK.read(value, path, report)

    def schema(self) -> dict[str, Any]:
        section = HOOK.schema()
        if not self.counts:
            section["properties"]["after"] = {"type": "null"}
        name = JOB_NAME.schema()
        return {**name, **section, "type": [name["type"], section["type"]]}

    def write(self, value: Any) -> Any:
        return HOOK.write(value) if value.after > 1 else value.job


@dataclass(frozen=True, slots=True)
class HookList(ListOf):
    """A list of hooks, without duplicate jobs."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        hooks = ListOf.read(self, value, path, report)
        if hooks is INVALID:
            return INVALID
        seen = set()
        for index, hook in enumerate(hooks):
            if hook.job in seen:
                report((*path, index), advise(f"{hook.job!r} appears twice", "remove one"))
                return INVALID
            seen.add(hook.job)
        return hooks

    def schema(self) -> dict[str, Any]:
        return {**ListOf.schema(self), "uniqueItems": True}


_PLAIN = HookList(HookEntry(counts=False))
_COUNTED = HookList(HookEntry(counts=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Jobs to submit for each outcome of a run; each gets the run document as its param ``run``."""

    start: tuple[Hook, ...] = option(_PLAIN, default=(), help="When the first attempt of a run starts.")
    success: tuple[Hook, ...] = option(_PLAIN, default=(), help="After SUCCESS.", examples=(["publish-report"],))
    recovered: tuple[Hook, ...] = option(
        _COUNTED, default=(), help="After the first SUCCESS that follows a FAILURE.", examples=(["page-oncall"],)
    )
    failure: tuple[Hook, ...] = option(
        _COUNTED,
        default=(),
        help="After FAILURE; with after: 3, only from the third FAILURE in a row.",
        examples=(["page-oncall"], ["note-it", {"job": "page-oncall", "after": 3}]),
    )
    revoked: tuple[Hook, ...] = option(_PLAIN, default=(), help="After REVOKED.")
    retry: tuple[Hook, ...] = option(_PLAIN, default=(), help="After a failed attempt that is retried.")
    overrun: tuple[Hook, ...] = option(_PLAIN, default=(), help="Once, when a run takes longer than overrun.")
    silent: tuple[Hook, ...] = option(
        _PLAIN, default=(), help="When no run has succeeded within alert_if_no_success; once, until the next SUCCESS."
    )

    def entries(self) -> dict[str, tuple[Hook, ...]]:
        """Return the hooks by outcome, without outcomes that have none."""
        return {field.name: hooks for field in fields(self) if (hooks := getattr(self, field.name))}

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the jobs by outcome: ``{"failure": ("page-oncall",)}``."""
        return {outcome: tuple(hook.job for hook in hooks) for outcome, hooks in self.entries().items()}

    @property
    def counts_failures(self) -> bool:
        """Whether a hook depends on the number of failures in a row."""
        return bool(self.recovered) or any(hook.after > 1 for hook in self.failure)


HOOKS_ALIASES = {
    "on_success": "success",
    "on_failure": "failure",
    "on_revoked": "revoked",
    "on_retry": "retry",
    "on_start": "start",
    "started": "start",
    "before": "start",
    "init": "start",
    "on_overrun": "overrun",
    "late": "overrun",
    "missed": "silent",
    "stale": "silent",
    "no_success": "silent",
    "slow": "overrun",
    "timeout": hint("a run that ends because of timeout ends in FAILURE: name the job under failure"),
    "on_recovery": "recovered",
    "recovery": "recovered",
    "resolved": "recovered",
    "fixed": "recovered",
    "exit": hint("name the job under success, failure, and revoked"),
    "cancel": "revoked",
    "error": "failure",
    "always": hint("name the job under success, failure, and revoked"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """The ``unique:`` section: a second submission within some time returns the first run."""

    for_: float = option(
        Duration(0.001),
        key="for",
        help="How long after a submission another one returns the same run.",
        examples=("1h",),
    )
    by: tuple[str, ...] = option(
        ListOf(Text(min_length=1), unique=True),
        default=(),
        help="The params that must be equal for two submissions to be the same; all of them by default.",
        examples=(["day"],),
    )


UNIQUE_ALIASES = {"window": "for", "ttl": "for", "timeout": "for", "key": "by", "keys": "by", "on": "by"}
