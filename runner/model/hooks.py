"""The ``hooks:`` and ``unique:`` sections of a job."""

from __future__ import annotations

from dataclasses import dataclass, fields

from runner.model.message import hint
from runner.model.option import Duration, ListOf, Text, option

JOB_NAME = Text(
    pattern=r"^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$",
    advice="use 1 to 64 lower-case letters, digits, dots, dashes or underscores, a letter or digit first and last",
)

_JOBS = ListOf(JOB_NAME, unique=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Jobs to submit when a run has an outcome; each gets the run document as its param ``run``."""

    success: tuple[str, ...] = option(_JOBS, default=(), help="After SUCCESS.", examples=(["publish-report"],))
    failure: tuple[str, ...] = option(_JOBS, default=(), help="After FAILURE.", examples=(["page-oncall"],))
    revoked: tuple[str, ...] = option(_JOBS, default=(), help="After REVOKED.")
    retry: tuple[str, ...] = option(_JOBS, default=(), help="After an attempt that another one follows.")

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the jobs of each outcome that has any: ``{"failure": ("page-oncall",)}``."""
        return {each.name: names for each in fields(self) if (names := getattr(self, each.name))}


HOOKS_ALIASES = {
    "on_success": "success",
    "on_failure": "failure",
    "on_revoked": "revoked",
    "on_retry": "retry",
    "exit": hint("name the job under success, failure and revoked"),
    "cancel": "revoked",
    "error": "failure",
    "always": hint("name the job under success, failure and revoked"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """The ``unique:`` section: a second submission within a time returns the first run."""

    for_: float = option(
        Duration(0.001),
        key="for",
        help="For how long after a submission another one returns the same run.",
        examples=("1h",),
    )
    by: tuple[str, ...] = option(
        ListOf(Text(min_length=1), unique=True),
        default=(),
        help="The params by whose values submissions are the same; all of them by default.",
        examples=(["day"],),
    )


UNIQUE_ALIASES = {"window": "for", "ttl": "for", "timeout": "for", "key": "by", "keys": "by", "on": "by"}
