"""The options of a submission besides params, declared once.

The options of ``runner submit``, the body of the REST API and its description, the form of the dashboard, the keywords
of :func:`runner.submit` and :func:`runner.submit_many`, and the reference pages derive from :class:`SubmitOptions`.
They read values by :mod:`runner.model.interface`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, TypedDict

from runner._dataclass import dataclass
from runner.model.option import option
from runner.model.queue_name import PRIORITY, QUEUE_NAME
from runner.model.time_types import StartTime
from runner.model.value_type import INVALID, Duration, Flag, Path, Report, describe

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Key:
    """An idempotency key of 1 to ``longest`` printable characters."""

    longest: int = 256

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, f"expected text, got {describe(value)}")
            return INVALID
        if not (0 < len(value) <= self.longest and value.isprintable()):
            report(path, f"the key is empty, too long, or not printable, use 1 to {self.longest} characters")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.longest}

    def write(self, value: Any) -> Any:
        return value


KEY: Final = Key()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitOptions:
    """The options of a submission. Durations are seconds, and ``at`` is a Unix time; None means the value of the job.

    The fields are the keywords of the Python API. If the name on the command line differs, it is the option's ``key``.
    """

    delay: float | None = option(
        Duration(), key="in", former=("delay",), default=None, help="Start after this time, such as 10m."
    )
    at: float | None = option(
        StartTime(), default=None, help="Start at this time; without an offset, in the project's time zone."
    )
    expires: float | None = option(
        Duration(0.001), default=None, help="Do not start later than this after the start time, such as 1h."
    )
    queue: str | None = option(QUEUE_NAME, default=None, help="Use this queue instead of the job's.")
    priority: int | None = option(
        PRIORITY, default=None, help="Use this priority (0 to 9, 9 is served first) instead of the job's."
    )
    key: str | None = option(
        KEY, default=None, help="Idempotency key: the same job and key return the first run again."
    )
    force: bool = option(Flag(), default=False, help="Run the job although it is paused.")

    # Options that only Celery clients have.
    drop_result: bool = False
    """Whether the submitter does not want the result to be stored."""
    expired: bool = False
    """Whether the run has expired already, so that it ends in REVOKED at once."""

    ALTERNATIVES: ClassVar = (("delay", "at", "say when to start"),)
    """Pairs of fields of which only one may be given, with their common meaning."""


NO_OPTIONS: Final = SubmitOptions()


class BatchKeywords(TypedDict, total=False):
    """The fields of :class:`SubmitOptions` that the runs of a batch share, for type checkers; a test compares them."""

    delay: float | str | None
    at: datetime | str | None
    expires: float | str | None
    queue: str | None
    priority: int | None
    force: bool


class SubmitKeywords(BatchKeywords, total=False):
    """The fields of :class:`SubmitOptions` as keywords of one submission."""

    key: str | None
