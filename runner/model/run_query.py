"""The filters of a list of runs, declared once.

The options of ``runner runs``, the query of the REST API and its description, the filters of the dashboard, the
keywords of :func:`runner.get_runs`, and the reference pages derive from :class:`RunQuery`. They read values by
:mod:`runner.model.interface`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict, get_args

from runner._dataclass import dataclass
from runner.model.container import ListOf
from runner.model.option import option
from runner.model.run import FailureReason, RevokedReason, State, Trigger
from runner.model.time_types import PastTime
from runner.model.value_type import INVALID, Choice, Flag, Path, Report, Text

if TYPE_CHECKING:
    from datetime import datetime

LONGEST_JOB = 129
"""The longest name of a job and a step, such as ``nightly/load``, in characters."""

Order = Literal["newest", "oldest", "longest"]

_STATES = Choice(tuple(str(state) for state in State))
_REASONS = Choice(tuple(str(reason) for reasons in (FailureReason, RevokedReason) for reason in reasons))


@dataclass(frozen=True, slots=True)
class StateName:
    """The name of a state, in any case."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        name = _STATES.read(value.upper() if isinstance(value, str) else value, path, report)
        return name if name is INVALID else State(name)

    def schema(self) -> dict[str, Any]:
        # Any case is accepted, but only capitals are described.
        return _STATES.schema()

    def write(self, value: Any) -> Any:
        return str(value)


def _archived() -> Any:
    return option(Flag(), default=False, help="Read only the archive, and not Redis.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Options for looking up a single run."""

    archived: bool = _archived()

    ALTERNATIVES: ClassVar = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """A query for runs; None means no filter. Times are Unix times of the submission, in seconds.

    ``grep`` searches the type, message, and traceback of the error. ``longest`` sorts the runs that one page looks at
    by their duration. ``worker`` is the name of a worker, or the part after the ``@``. Step runs are left out unless
    ``steps``, ``step``, or ``flow`` is given, or ``job`` is the name of a step (``nightly/load``).
    """

    job: str | None = option(
        Text(max_length=LONGEST_JOB), default=None, help="Only runs of this job, or of a step such as nightly/load."
    )
    state: Sequence[State] = option(
        ListOf(StateName(), most=len(State)), default=(), help="Only runs in this state; may be repeated."
    )
    grep: str | None = option(
        Text(max_length=200),
        former=("text",),
        default=None,
        help="Only runs with this text in their error; case does not matter.",
    )
    since: float | None = option(
        PastTime(), default=None, help="Only runs submitted since this time, such as 24h, 2026-11-23, or 02:00."
    )
    until: float | None = option(PastTime(), default=None, help="Only runs submitted until this time.")
    reason: str | None = option(
        _REASONS, default=None, help="Only runs that ended for this reason, such as timeout or expired."
    )
    tag: str | None = option(Text(max_length=64), default=None, help="Only runs with this tag.")
    worker: str | None = option(
        Text(max_length=256), default=None, help="Only runs whose last attempt was on this worker or host."
    )
    trigger: str | None = option(
        Choice(get_args(Trigger)), default=None, help="Only runs that were submitted in this way."
    )
    key: str | None = option(Text(max_length=256), default=None, help="Only runs with this idempotency key.")
    backfill: str | None = option(
        Text(max_length=64),
        default=None,
        help="Only runs of this backfill: its id, or a prefix of 8 or more characters.",
    )
    flow: str | None = option(
        Text(max_length=128),
        default=None,
        help="Only the step runs of this flow: its id, or a prefix of 8 or more characters.",
    )
    step: str | None = option(Text(max_length=64), default=None, help="Only runs of this step of a flow.")
    steps: bool = option(Flag(), default=False, help="Also list the step runs of flows.")
    sort: Order = option(
        Choice(get_args(Order)),
        former=("order",),
        default="newest",
        help="The order of the list; longest has only one page.",
    )
    archived: bool = _archived()

    ALTERNATIVES: ClassVar = ()


class RunKeywords(TypedDict, total=False):
    """The fields of :class:`RunQuery` as keywords of the Python API, for type checkers; a test compares them."""

    job: str | None
    state: str | Sequence[str]
    grep: str | None
    since: datetime | str | None
    until: datetime | str | None
    reason: str | None
    tag: str | None
    worker: str | None
    trigger: str | None
    key: str | None
    backfill: str | None
    flow: str | None
    step: str | None
    steps: bool
    sort: Order
    archived: bool


class ReadingKeywords(TypedDict, total=False):
    """The fields of :class:`Reading`, in the same way."""

    archived: bool
