"""The JSON documents of the API, as types for its OpenAPI description.

They only describe documents, which the command line prints, too. Tests compare the answers of the API with them.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi.responses import StreamingResponse
from pydantic import ConfigDict
from typing_extensions import TypedDict

from runner._dataclass import dataclass
from runner.model.job import JobSpec
from runner.model.option import options_of
from runner.model.queue import Queue
from runner.model.run import Run as PlainRun
from runner.model.run import State
from runner.model.worker import Worker

CLOSED = ConfigDict(extra="forbid")


class Error(TypedDict):
    """An error, and a hint that says what to do about it."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    code: str
    message: str
    hint: str | None
    exit_code: int


class Problem(TypedDict):
    """The body of every answer whose status is not 2xx."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    error: Error


class Step(TypedDict):
    """A step of a flow: ``counts`` has the number of its runs in each state, and ``run`` the id of its only run.

    ``items`` is null until the step is admitted. ``run`` is null for a step with ``each``.
    """

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    name: str
    kind: Literal["task", "job", "approval"]
    needs: list[str]
    state: State
    reason: str | None
    items: int | None
    counts: dict[State, int]
    started_at: str | None
    finished_at: str | None
    run: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(PlainRun):
    """A run. Of a flow, ``steps`` has the steps in the order of the file."""

    steps: list[Step] | None = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedRun(Run):
    """A run, and whether it existed before the request."""

    duplicate: bool


class Received(TypedDict):
    """The run that a webhook started, and whether an earlier delivery of it had started the run already."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    id: str
    duplicate: bool


class Runs(TypedDict):
    """A page of runs. ``cut`` is true if the search stopped after many runs before the page was full."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    runs: list[Run]
    cursor: str | None
    looked_at: int
    reached: str | None
    cut: bool


class Line(TypedDict):
    """A line of a log. ``cut`` counts lines that are not kept. In a flow, ``step`` and ``run`` name the writer."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    at: str
    attempt: int
    level: str | None
    text: str
    cut: int
    step: str | None
    run: str | None


class Log(TypedDict):
    """The last lines of a run's log."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    lines: list[Line]


class Pause(TypedDict):
    """The pause of a job, or of all jobs if ``job`` is ``*``."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    job: str
    by: str
    since: str
    until: str | None
    comment: str | None


class Last(TypedDict):
    """The outcome of the last run of a job."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    id: str
    state: State
    reason: str | None
    finished_at: str | None


class SkippedSlots(TypedDict):
    """Slots that ``except`` or ``only`` leaves out: the first one, and the time up to which the reason holds."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    job: str
    slot: str
    until: str
    reason: str


class OpenStep(TypedDict):
    """A step of a flow that was admitted and has not ended, with the run of it that has waited longest."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    step: str
    item: int | None
    id: str
    state: State
    summary: str


class Facts(TypedDict):
    """The facts about a run."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    due: str | None
    ahead: int | None
    higher_priority_ahead: int
    holder: str | None
    lease_ends: str | None
    refused_since: str | None
    pause: Pause | None
    put_aside_before: int | None
    slot_holders: list[str] | None
    rate_free: str | None
    required_job: str | None
    required_job_succeeded: str | None
    workers: int
    takers: list[str]
    declared: bool
    enabled: bool
    changed_since_submission: bool
    left_out: list[SkippedSlots]
    broker: str | None
    open_steps: list[OpenStep]


class Why(TypedDict):
    """The reason why a run waits or has ended, and commands that help."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    id: str
    job: str
    state: State
    reason: str | None
    summary: str
    because: list[str]
    commands: list[str]
    log: list[str]
    facts: Facts


_LOCATION = {"name": str, "file": str, "line": int, "digest": str}
_OPTIONS = {option.key: Any for option in options_of(JobSpec)}
_STANDING = {"paused": Pause | None, "last": Last | None, "next": str | None}
Job: Any = TypedDict("Job", {**_LOCATION, **_OPTIONS, **_STANDING})  # type: ignore[misc]
Job.__doc__ = (
    "A job: its name, file, and line, every option as it is written in YAML (see the reference of jobs.d), its pause, "
    "the outcome of its last run, and its next slot."
)
setattr(Job, "__pydantic_config__", CLOSED)  # noqa: B010 - mypy knows no such attribute


class Jobs(TypedDict):
    """All valid jobs, and the problems of the others."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    jobs: list[Job]
    problems: list[str]


class Resumed(TypedDict):
    """Whether the job was paused."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    resumed: bool


class Workers(TypedDict):
    """The live workers, and those that were lost within the last day."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    workers: list[Worker]


class Queues(TypedDict):
    """The queues that workers serve, and those in which runs wait."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    queues: list[Queue]


class UpcomingRun(TypedDict):
    """An upcoming or missed run of a schedule."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    job: str
    slot: str
    start: str
    missed: bool
    paused: bool
    served: bool | None
    id: str
    queue: str
    params: dict[str, Any]
    state: str | None


class Upcoming(TypedDict):
    """The runs to come, and the slots that are left out, both in time order."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    upcoming: list[UpcomingRun]
    skipped: list[SkippedSlots]


class BackfillSlot(TypedDict):
    """A slot of a backfill, and whether it had a run before the backfill."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    slot: str
    id: str
    params: dict[str, Any]
    known: bool


# `from` and `to` need this form: `from` is a keyword of Python.
Backfilled = TypedDict(
    "Backfilled",
    {
        "id": str,
        "job": str,
        "from": str,
        "to": str,
        "at_once": int | None,
        "again": bool,
        "dry_run": bool,
        "submitted": int,
        "skipped": int,
        "slots": list[BackfillSlot],
    },
)
Backfill = TypedDict(
    "Backfill",
    {
        "id": str,
        "job": str,
        "from": str,
        "to": str,
        "at_once": int | None,
        "again": bool,
        "submitted_by": str | None,
        "submitted_at": str,
        "slots": int,
        "runs": int,
        "unfinished": int,
        "SUCCESS": int,
        "FAILURE": int,
        "REVOKED": int,
        "revoked": bool,
    },
)


class Backfills(TypedDict):
    """Backfills, newest first."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    backfills: list[Backfill]


class Percentiles(TypedDict):
    """Percentiles in seconds."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    p50: float | None
    p95: float | None


class Day(TypedDict):
    """The outcomes of the runs that were submitted on a day."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    day: str
    success: int
    failure: int
    revoked: int


class Figures(TypedDict):
    """Counts, durations, and waiting times of runs."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    job: str
    runs: int
    states: dict[str, int]
    success_rate: float | None
    last_success: str | None
    wait_seconds: Percentiles
    run_seconds: Percentiles
    sampled: int
    days: list[Day]


class StepStats(Figures):
    """The figures of a step of a flow. A step that runs another job counts its runs in all flows."""

    step: str


class JobStats(Figures):
    """The figures of a job. If one flow is asked for, ``steps`` has those of its steps."""

    steps: list[StepStats]


class Stats(TypedDict):
    """The figures of all jobs."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    stats: list[JobStats]


class Act(TypedDict):
    """An action of a person. ``job`` is ``*`` for all jobs."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    at: str
    act: str
    by: str | None
    job: str | None
    id: str | None
    comment: str | None


class Audit(TypedDict):
    """Actions of people, newest first."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    acts: list[Act]


class Project(TypedDict):
    """A project of this server. ``states`` counts its runs; it is null if ``error`` says that Redis is away."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    name: str
    namespace: str
    folder: str
    states: dict[State, int] | None
    error: Error | None


class Projects(TypedDict):
    """All projects, in the order of the command line."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    projects: list[Project]


class Health(TypedDict):
    """Redis answers."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]

    status: Literal["ok"]


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "A header, or the request itself, is not valid.",
        401: "The request has no valid token.",
        403: "The role of the token does not permit this.",
        404: "There is no such run, job, or path.",
        405: "The path does not support this method.",
        408: "The body did not arrive in time.",
        409: "Refused: the job is disabled or paused, or the run has not finished.",
        413: "The body is too large.",
        415: "The Content-Type of the body is not JSON.",
        421: "The request is for another host.",
        422: "The request or the params are not valid.",
        429: "Too many failed logins.",
        500: "A bug in the runner.",
        503: "Redis cannot be reached.",
    }.items()
}


def answers(document: Any, status: int = 200, **more: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI description of a route that answers with a document of this type."""
    return {
        "status_code": status,
        "response_model": None,
        "responses": {**PROBLEMS, status: {"model": document}, **{int(key): value for key, value in more.items()}},
    }


def streams(description: str) -> dict[str, Any]:
    """Return the OpenAPI description of a route that answers with server-sent events."""
    events = {"description": description, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {"response_class": StreamingResponse, "responses": {**PROBLEMS, 200: events}}
