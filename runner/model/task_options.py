"""The options that describe how a task runs: a job has them, and so has each step of a flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import advise
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

# Python lets letters of any script into a name; these ranges hold them and no punctuation, in Python's
# regular expressions and in ECMA-262 alike.
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
    advice="use letters, digits and underscores, no digit first",
)
ENV_VALUE = Text(pattern=r"^[^\x00]*$", advice="write one text without NUL")
FILE_PATH = Text(pattern=r"^[^\x00-\x1f\x7f]+$", advice="write the path of one file")
MEMORY = Size(32 * 1024**2, 1024**4)
"""Memory of processes: one that performs runs needs 20 to 30 MiB itself."""
KWARG_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", advice="a keyword argument is a Python identifier", tells_how=False
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
        help="What to run, as module:attribute; any importable callable.",
        examples=("reports.nightly:build", "runner.tasks.shell:run"),
    )
    description: str | None = option(Text(max_length=4096), default=None, help="What it is for.")
    args: tuple[Any, ...] = option(ListOf(AnyJson()), default=(), help="Fixed positional arguments.")
    kwargs: Mapping[str, Any] = option(
        MapOf(KWARG_NAME, Template(AnyJson(), any_depth=True)),
        default={},
        help="Fixed keyword arguments; ${…} stands for what a run brings.",
        examples=({"currency": "EUR"}, {"target": "reports/${params.day}.csv"}),
    )
    env: Mapping[str, str] = option(
        MapOf(ENV_NAME, Template(ENV_VALUE), null_resets=True),
        default={},
        help="Environment variables for the duration of the run; ${…} stands for what a run brings.",
        examples=({"REPORT_MODE": "full"},),
    )
    env_file: str | None = option(
        FILE_PATH,
        default=None,
        help="A file of environment variables for the duration of the run, in dotenv format, relative to the project. "
        "For values that are not secret; env and secrets win over it.",
        examples=(".env",),
    )
    secrets: Mapping[str, str] = option(
        MapOf(ENV_NAME, SECRET, null_resets=True, dangling=False),  # a forgotten source is no secret
        default={},
        help="Environment variables for the duration of the run, from a variable (env:NAME) or a file (file:PATH) of "
        "the worker, or a command (exec:COMMAND) that it runs without a shell; masked wherever the run shows them.",
        examples=(
            {"API_KEY": "env:REPORT_API_KEY", "DB_PASSWORD": "file:/run/secrets/db", "PIN": "exec:pass show pin"},
        ),
    )
    queue: str = option(QUEUE_NAME, default="default", help="The queue that workers take the run from.")
    priority: int = option(PRIORITY, default=5, help="0 to 9, 9 is served first.")
    expires: float | None = option(
        Duration(0.001),
        default=None,
        help="No start after this time, counted from eta, else from submission; the run ends REVOKED, expired.",
        examples=("1h",),
    )
    timeout: float | None = option(
        Duration(0.1),
        default=None,
        help="A run longer than this is killed and ends in FAILURE, reason timeout.",
        examples=("15m",),
    )
    soft_timeout: float | None = option(
        Duration(0.1),
        default=None,
        help="After this time SoftTimeLimitExceeded is raised in the job, so that it can clean up.",
        examples=("14m",),
    )
    overrun: float | None = option(
        Duration(0.1),
        default=None,
        help="A run whose attempt takes longer fires the hook overrun, is marked in every list, and goes on.",
        examples=("30m",),
    )
    memory: int | None = option(
        MEMORY,
        default=None,
        help="When the processes of a run hold more memory than this, they are killed, and the run ends in FAILURE, "
        "reason out_of_memory.",
        examples=("512MiB",),
    )
    retry: RetryPolicy = option(
        Section(RetryPolicy, RETRY_ALIASES),
        default=_NO_RETRY,
        help="What follows a failed attempt.",
    )
    delivery: str = option(
        Choice(("at_least_once", "at_most_once")),
        default="at_least_once",
        help="What follows when the worker of a started run dies: at_least_once starts it again; at_most_once ends it "
        "in FAILURE, reason worker_lost.",
    )
    max_deliveries: int = option(
        Integer(1, 100),
        default=3,
        help="So many attempts lost with their worker since the last retry, and the run ends in FAILURE, poisoned.",
    )
    isolation: str | None = option(
        Choice(("process",)),
        default=None,
        help="process: each run has a process of its own, that ends with the run. By default runs share processes one "
        "after the other, and each is put back after a run.",
    )
    result: str = option(
        Choice(("keep", "drop", "repr")),
        default="keep",
        help="What is stored of a result: keep stores JSON, and a run whose result is not JSON fails; drop stores "
        "nothing; repr stores the text that Python shows for a result that is not JSON.",
    )
    unsafe: bool = option(
        Flag(),
        default=False,
        help="true: ${params.NAME} and ${run.id} may stand where a program takes them for code, options, or a host; "
        "validate, plan, and doctor report it.",
    )


def check_task_options(options: TaskOptions, path: Path, report: Report) -> bool:
    """Report the options of a task that do not fit each other; return whether all do."""
    sound = True
    if options.timeout is not None and options.soft_timeout is not None and options.soft_timeout >= options.timeout:
        report((*path, "soft_timeout"), "must be shorter than timeout, or the job has no time to clean up")
        sound = False
    if options.timeout is not None and options.overrun is not None and options.overrun >= options.timeout:
        report((*path, "overrun"), "must be shorter than timeout, or no run gets that far")
        sound = False
    for name in options.secrets:
        if name in options.env:
            report((*path, "secrets", name), advise("is set by env too", "remove one of them"), on_key=True)
            sound = False
    return sound
