"""The options that describe how a task runs, which jobs and the steps of flows have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.duration import format_duration
from runner.model.message import Message, advise
from runner.model.option import (
    AnyJson,
    Choice,
    Duration,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Path,
    Report,
    Section,
    Size,
    Text,
    option,
)
from runner.model.queue_name import PRIORITY, QUEUE_NAME
from runner.model.retry import RetryPolicy
from runner.model.secret import SECRET
from runner.model.template import Template

# Names in Python may have letters of any script. These ranges contain letters but no punctuation, and work in the
# regular expressions of both Python and ECMA-262.
_LETTER = r"A-Za-z_\u00c0-\u1fff\u3040-\ud7ff"
_NAME = f"[{_LETTER}][{_LETTER}0-9]*"
_ASCII_NAME = "[A-Za-z_][A-Za-z0-9_]*"
IMPORT_PATH = Text(
    pattern=rf"^{_NAME}(\.{_NAME})*[:.]{_NAME}(\.{_NAME})*$",
    advice="write module:attribute, such as reports.nightly:build",
    usual=rf"^{_ASCII_NAME}(\.{_ASCII_NAME})*[:.]{_ASCII_NAME}(\.{_ASCII_NAME})*$",
)
ENV_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    advice="use letters, digits, and underscores, no digit first",
    is_name=True,
)
ENV_VALUE = Text(pattern=r"^[^\x00]*$", advice="write text without NUL characters")
FILE_PATH = Text(pattern=r"^[^\x00-\x1f\x7f]+$", advice="write the path of one file")
MEMORY = Size(32 * 1024**2, 1024**4)
"""The memory of processes. A process that performs runs needs 20 to 30 MiB for itself."""
KWARG_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    advice="use letters, digits, and underscores, no digit first",
    is_name=True,
)

RETRY_ALIASES = {
    "autoretry_for": "for",
    "dont_autoretry_for": "not_for",
    "exceptions": "for",
    "on": "for",
    "retry_backoff": "backoff",
    "retry_backoff_max": "max_delay",
    "retry_jitter": "jitter",
    "default_retry_delay": "delay",
    "countdown": "delay",
    "interval": "delay",
    "intervalSec": "delay",
    "backoffLimit": "max_retries",
    "limit": "max_retries",
    "retries": "max_retries",
    "attempts": "max_retries",
    "maxRetries": "max_retries",
    "maxAttempt": "max_retries",
    "maxAttempts": "max_retries",
    "maxDuration": "max_delay",
}

_NO_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options that jobs and steps share. Durations are seconds."""

    task: str | None = option(
        IMPORT_PATH,
        default=None,
        help="The callable to run, as module:attribute.",
        examples=("reports.nightly:build", "runner.tasks.shell:run"),
    )
    description: str | None = option(Text(max_length=4096), default=None, help="What the job or step is for.")
    args: tuple[Any, ...] = option(ListOf(AnyJson()), default=(), help="Fixed positional arguments.")
    kwargs: Mapping[str, Any] = option(
        MapOf(KWARG_NAME, Template(AnyJson(), any_depth=True)),
        default={},
        help="Fixed keyword arguments; placeholders such as ${params.day} and ${run.id} are replaced.",
        examples=({"currency": "EUR"}, {"target": "reports/${params.day}.csv"}),
    )
    env: Mapping[str, str] = option(
        MapOf(ENV_NAME, Template(ENV_VALUE), null_resets=True),
        default={},
        help="Environment variables during the run; placeholders such as ${params.day} and ${run.id} are replaced.",
        examples=({"REPORT_MODE": "full"},),
    )
    env_file: str | None = option(
        FILE_PATH,
        default=None,
        help="A file in dotenv format, relative to the project, with environment variables for the run. Use it for "
        "values that are not secret; env and secrets take precedence.",
        examples=(".env",),
    )
    secrets: Mapping[str, str] = option(
        MapOf(ENV_NAME, SECRET, null_resets=True, dangling=False),  # null is not a source: it may have been forgotten
        default={},
        help="Environment variables during the run, from a variable (env:NAME) or a file (file:PATH) of the worker, "
        "or from a command (exec:COMMAND) that it runs without a shell. They are masked in everything that the run "
        "shows.",
        examples=(
            {"API_KEY": "env:REPORT_API_KEY", "DB_PASSWORD": "file:/run/secrets/db", "PIN": "exec:pass show pin"},
        ),
    )
    queue: str = option(QUEUE_NAME, default="default", help="The queue from which workers take the run.")
    priority: int = option(PRIORITY, default=5, help="0 to 9; 9 is served first.")
    expires: float | None = option(
        Duration(0.001),
        default=None,
        help="How long after its eta, or after its submission, a run may start; later it ends REVOKED, expired.",
        examples=("1h",),
    )
    timeout: float | None = option(
        Duration(0.1),
        default=None,
        help="A run that takes longer is killed, and ends in FAILURE with reason timeout.",
        examples=("15m",),
    )
    soft_timeout: float | None = option(
        Duration(0.1),
        default=None,
        help="After this time, SoftTimeLimitExceeded is raised in the job, so that it can clean up.",
        examples=("14m",),
    )
    overrun: float | None = option(
        Duration(0.1),
        default=None,
        help="If an attempt takes longer, the hook overrun fires and lists mark the run, which goes on.",
        examples=("30m",),
    )
    memory: int | None = option(
        MEMORY,
        default=None,
        help="If the processes of a run use more memory than this, they are killed, and the run ends in FAILURE with "
        "reason out_of_memory.",
        examples=("512MiB",),
    )
    retry: RetryPolicy = option(
        Section(RetryPolicy, RETRY_ALIASES),
        default=_NO_RETRY,
        help="Whether a failed attempt is retried, and when.",
    )
    delivery: str = option(
        Choice(("at_least_once", "at_most_once")),
        default="at_least_once",
        help="What happens to a started run if its worker dies: at_least_once starts it again; at_most_once ends it "
        "in FAILURE with reason worker_lost.",
    )
    max_deliveries: int = option(
        Integer(1, 100),
        default=3,
        help="How many times in a row an attempt may be lost with its worker before the run fails with reason "
        "poisoned.",
    )
    isolation: str | None = option(
        Choice(("process",)),
        default=None,
        help="process: each run has a process of its own, which ends with the run. By default, a process performs one "
        "run after another, and its state is restored in between.",
    )
    result: str = option(
        Choice(("keep", "drop", "repr")),
        default="keep",
        help="How the result is stored: keep stores JSON, and a run whose result is not JSON fails; drop stores "
        "nothing; repr stores the repr() of a result that is not JSON.",
    )
    unsafe: bool = option(
        Flag(),
        default=False,
        help="true: allow ${params.NAME} and ${run.id} where a program may take them for code, options, or a host. "
        "validate, plan, and doctor report such jobs.",
    )


def check_task_options(options: TaskOptions, path: Path, report: Report) -> bool:
    """Report the options of a task that contradict each other; return whether there are none."""
    sound = True
    if options.timeout is not None and options.soft_timeout is not None and options.soft_timeout >= options.timeout:
        report((*path, "soft_timeout"), _not_shorter("so the job has no time to clean up", options.timeout))
        sound = False
    if options.timeout is not None and options.overrun is not None and options.overrun >= options.timeout:
        report((*path, "overrun"), _not_shorter("so it never fires", options.timeout))
        sound = False
    for name in options.secrets:
        if name in options.env:
            report((*path, "secrets", name), advise("is set by env too", "remove one of them"), on_key=True)
            sound = False
    return sound


def _not_shorter(consequence: str, timeout: float) -> Message:
    return advise(f"is not shorter than timeout, {consequence}", f"write less than {format_duration(timeout)}", "; ")
