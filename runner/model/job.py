"""The job. Each option of ``jobs.d`` is declared here once; everything else derives from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.model.concurrency import CONCURRENCY_ALIASES, Concurrency, check_key
from runner.model.foreign_names import FOREIGN_JOB_NAMES
from runner.model.hooks import HOOKS_ALIASES, UNIQUE_ALIASES, Hooks, Unique
from runner.model.message import Message, hint, told
from runner.model.option import (
    AnyJson,
    Choice,
    Defaults,
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
    closest,
    option,
)
from runner.model.param import PARAMS, Param
from runner.model.queue_name import PRIORITY, QUEUE_NAME
from runner.model.rate import RATE_ALIASES, Rate
from runner.model.require import REQUIRED, Require
from runner.model.retry import RetryPolicy
from runner.model.schedule import SCHEDULES, Schedule
from runner.model.secret import SECRET
from runner.model.template import Template, params_known
from runner.model.watch import WATCH_ALIASES, Watch, check_watch
from runner.model.webhook import WEBHOOK_ALIASES, Webhook, check_webhook

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
FILE_PATH = Text(pattern=r"^[^\x00-\x1f\x7f]+$", advice="write the path of one file")
MEMORY = Size(32 * 1024**2, 1024**4)
"""Memory of processes: one that performs runs needs 20 to 30 MiB itself."""
KWARG_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", advice="a keyword argument is a Python identifier", tells_how=False
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The ``retention:`` section: how long what is known of a run is kept. Durations are seconds.

    A field that is None is taken from ``retention`` of ``runner.yaml``.
    """

    result: float | None = option(
        Duration(1.0), default=None, help="How long a result is kept; the state stays.", examples=("1d",)
    )
    history: float | None = option(
        Duration(1.0), default=None, help="How long a finished run is kept.", examples=("30d",)
    )
    runs: int | None = option(
        Integer(1, 1_000_000), default=None, help="How many finished runs of this job are kept.", examples=(1000,)
    )
    keep_at_least: float | None = option(
        Duration(),
        default=None,
        help="How long a finished run is kept although there are more than runs; history counts all the same.",
        examples=("1h",),
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

JOB_ALIASES = {
    "secret": "secrets",
    "secretRef": "secrets",
    "secretKeyRef": "secrets",
    "envFile": "env_file",
    "webhooks": "webhook",
    "on_webhook": "webhook",
    "env_files": "env_file",
    "envFrom": hint("name what the job needs under secrets"),
    "concurrencyPolicy": "concurrency.policy",
    "max_concurrency": "concurrency.limit",
    "maxActiveRuns": "concurrency.limit",
    "max_instances": "concurrency.limit",
    "max_failures": "pause_after",
    "max_consecutive_failures": "pause_after",
    "disable_after": "pause_after",
    "circuit_breaker": "pause_after",
    "cron": "schedule",
    "crontab": "schedule",
    "schedules": "schedule",
    "every": "schedule.every",
    "interval": "schedule.every",
    "timezone": "schedule.timezone",
    "timeZone": "schedule.timezone",
    "handlerOn": "hooks",
    "handler_on": "hooks",
    "on_failure": "hooks.failure",
    "on_success": "hooks.success",
    "rate_limit": "rate",
    "name": hint("the name of a job is the key above its options"),
    "depends": hint("write require: [{job: NAME, within: 1d}]"),
    "type": hint("a job has no type, task says what runs"),
    "restartPolicy": "retry",
    "retry_policy": "retry",
    "retry_kwargs": "retry",
    "image": hint("jobs run in the worker, there are no images"),
    "workingDir": hint("a working folder is kwargs.cwd of task runner.tasks.shell:run"),
    "working_dir": hint("a working folder is kwargs.cwd of task runner.tasks.shell:run"),
    "autoretry_for": "retry.for",
    "dont_autoretry_for": "retry.not_for",
    "max_retries": "retry.max_retries",
    "maxRetries": "retry.max_retries",
    "default_retry_delay": "retry.delay",
    "retry_backoff": "retry.backoff",
    "retry_backoff_max": "retry.max_delay",
    "retry_jitter": "retry.jitter",
    "retries": "retry.max_retries",
    "retryPolicy": "retry",
    "backoffLimit": "retry.max_retries",
    "soft_time_limit": "soft_timeout",
    "time_limit": "timeout",
    "memory_limit": "memory",
    "max_memory": "memory",
    "mem_limit": "memory",
    "worker_max_memory_per_child": hint("set worker.recycle.memory in runner.yaml"),
    "worker_max_tasks_per_child": hint("set worker.recycle.runs in runner.yaml"),
    "max_runtime": "overrun",
    "expected_duration": "overrun",
    "warn_after": "overrun",
    "timeoutSec": "timeout",
    "activeDeadlineSeconds": "timeout",
    "startingDeadlineSeconds": "expires",
    "ttlSecondsAfterFinished": "retention.history",
    "histRetentionDays": "retention.history",
    "successfulJobsHistoryLimit": "retention.runs",
    "failedJobsHistoryLimit": "retention.runs",
    "result_expires": "retention.result",
    "ignore_result": hint("write result: drop"),
    "suspend": hint("write enabled: false"),
    "disabled": hint("write enabled: false"),
    "disable": hint("write enabled: false"),
    "routing_key": "queue",
    "arguments": "args",
    "parameters": "params",
    "environment": "env",
    "environ": "env",
    "func": "task",
    "function": "task",
    "callable": "task",
    "target": "task",
    "path": "task",
    "command": hint("a shell command is kwargs.command of task runner.tasks.shell:run"),
    "script": hint("a shell script is kwargs.script of task runner.tasks.shell:run"),
    "labels": "tags",
    "desc": "description",
    "help": "description",
}
"""What users of other tools type, beside :data:`FOREIGN_JOB_NAMES`."""


RETENTION_ALIASES = {
    "results": "result",
    "result_expires": "result",
    "keep": "history",
    "max_runs": "runs",
    "count": "runs",
    "histRetentionDays": "history",
}

_NO_RETRY = RetryPolicy()
_NO_HOOKS = Hooks()
_PROJECT_RETENTION = Retention()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job as declared, all defaults merged in. Durations are seconds."""

    name: str
    task: str = option(
        IMPORT_PATH,
        help="What to run, as module:attribute; any importable callable.",
        examples=("reports.nightly:build", "runner.tasks.shell:run"),
    )
    description: str | None = option(Text(max_length=4096), default=None, help="What the job is for.")
    tags: tuple[str, ...] = option(
        ListOf(Text(min_length=1, max_length=64), unique=True),
        default=(),
        help="Words to group and filter jobs by.",
        examples=(["finance"],),
    )
    enabled: bool = option(Flag(), default=True, help="false: submit refuses the job, and its schedule does not fire.")
    args: tuple[Any, ...] = option(ListOf(AnyJson()), default=(), help="Fixed positional arguments.")
    kwargs: Mapping[str, Any] = option(
        MapOf(KWARG_NAME, Template(AnyJson(), any_depth=True)),
        default={},
        help="Fixed keyword arguments; ${…} stands for what a run brings.",
        examples=({"currency": "EUR"}, {"target": "reports/${params.day}.csv"}),
    )
    params: Mapping[str, Param] = option(
        PARAMS,
        default={},
        help="What a submitter may give: a name and a JSON Schema each, with required, default and description.",
        examples=({"day": {"type": "string", "format": "date", "required": True}},),
    )
    env: Mapping[str, str] = option(
        MapOf(ENV_NAME, Template(Text(pattern=r"^[^\x00]*$", advice="write one text without NUL")), null_resets=True),
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
    schedule: tuple[Schedule, ...] = option(
        SCHEDULES,
        default=(),
        help="When the job runs by itself: a cron expression, a mapping with cron or every, or a list of them.",
        examples=("0 2 * * *", {"every": "15m"}, {"cron": "@daily", "timezone": "Europe/Berlin", "jitter": "5m"}),
    )
    watch: Watch | None = option(
        Section(Watch, WATCH_ALIASES),
        default=None,
        help="Files that each get a run, with its path as the param path: one for each version of a file, once it "
        "has stopped growing.",
        examples=({"path": "inbox/*.csv", "settle": "30s"},),
    )
    webhook: Webhook | None = option(
        Section(Webhook, WEBHOOK_ALIASES),
        default=None,
        help="Requests to POST /hooks/JOB of runner web that each submit a run, once for each delivery.",
        examples=({"signature": "github", "secret": "env:GITHUB_WEBHOOK_SECRET", "params": {"branch": "ref"}},),
    )
    concurrency: Concurrency | None = option(
        Section(Concurrency, CONCURRENCY_ALIASES),
        default=None,
        help="How many runs of the job may be under way at once, over the whole fleet.",
        examples=({"limit": 1}, {"limit": 2, "policy": "skip", "key": "${params.region}"}),
    )
    rate: Rate | None = option(
        Section(Rate, RATE_ALIASES),
        default=None,
        help="How many runs of the job may start within a time, over the whole fleet; the others wait in their order.",
        examples=({"limit": 100, "per": "1m"}, {"limit": 10, "per": "1s", "key": "${params.tenant}"}),
    )
    require: tuple[Require, ...] = option(
        REQUIRED,
        default=(),
        help="Jobs that must have succeeded within a time; a run waits until they have, or until it expires.",
        examples=([{"job": "extract", "within": "20h"}],),
    )
    unique: Unique | None = option(
        Section(Unique, UNIQUE_ALIASES),
        default=None,
        help="A second submission within a time returns the first run, unless that was revoked.",
        examples=({"for": "1h", "by": ["day"]},),
    )
    hooks: Hooks = option(
        Section(Hooks, HOOKS_ALIASES),
        default=_NO_HOOKS,
        help="Jobs to submit when a run has an outcome; their param run is the run document.",
        examples=({"failure": ["page-oncall"]},),
    )
    pause_after: int | None = option(
        Integer(1, 1_000_000),
        default=None,
        help="Pause the job after this many runs in a row ended in FAILURE; resuming it begins the count anew.",
        examples=(5,),
    )
    alert_if_no_success: float | None = option(
        Duration(1.0),
        default=None,
        help="When no run of the job has succeeded for so long, runner doctor, dashboard and metrics name it, and the "
        "hook silent fires.",
        examples=("26h",),
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
    retention: Retention = option(
        Section(Retention, RETENTION_ALIASES),
        default=_PROJECT_RETENTION,
        help="How long what is known of a run is kept.",
    )

    unsafe: bool = option(
        Flag(),
        default=False,
        help="true: ${params.NAME} and ${run.id} may stand where a program takes them for code, options, or a host; "
        "validate, plan, and doctor report it.",
    )

    digest: str = ""
    """``sha256:`` of all options as merged; a run carries the digest of the spec it was submitted under."""
    file: str = ""
    """The file that declares the job, relative to the project."""
    line: int = 0
    """The line of the job's name in that file, counted from 1."""

    @property
    def needs_prefork(self) -> str | None:
        """The first option that only the prefork pool can honor, or None."""
        for name in ("timeout", "soft_timeout", "memory", "env", "env_file", "secrets", "isolation"):
            if getattr(self, name):
                return name
        if self.concurrency is not None and self.concurrency.policy == "replace":
            return "concurrency.policy"
        return None


def check_job(job: JobSpec, path: Path, report: Report) -> bool:
    """Report what is wrong between options of one job; return whether nothing is."""
    sound = True
    if job.timeout is not None and job.soft_timeout is not None and job.soft_timeout >= job.timeout:
        report((*path, "soft_timeout"), "must be shorter than timeout, or the job has no time to clean up")
        sound = False
    if job.timeout is not None and job.overrun is not None and job.overrun >= job.timeout:
        report((*path, "overrun"), "must be shorter than timeout, or no run gets that far")
        sound = False
    if job.hooks.silent and job.alert_if_no_success is None:
        advice = "add alert_if_no_success to the job, such as alert_if_no_success: 26h"
        report((*path, "hooks", "silent"), told("never fires", advice))
        sound = False
    if job.hooks.overrun and job.overrun is None:
        report((*path, "hooks", "overrun"), told("never fires", "add overrun to the job, such as overrun: 30m"))
        sound = False
    for name in job.params:
        if name in job.kwargs:
            report((*path, "params", name), told("is a fixed kwarg too", "remove one of them"), on_key=True)
            sound = False
    for name in job.secrets:
        if name in job.env:
            report((*path, "secrets", name), told("is set by env too", "remove one of them"), on_key=True)
            sound = False
    for option_name in ("kwargs", "env"):
        sound &= params_known(getattr(job, option_name), job.params, (*path, option_name), report)
    if job.concurrency is not None and job.concurrency.key is not None:
        sound &= check_key(job.concurrency.key, job.params, (*path, "concurrency", "key"), report)
    if job.rate is not None and job.rate.key is not None:
        sound &= check_key(job.rate.key, job.params, (*path, "rate", "key"), report)
    if job.watch is not None:
        sound &= check_watch(job.watch, job.params, (*path, "watch"), report)
    if job.webhook is not None:
        sound &= check_webhook(job.webhook, job.params, (*path, "webhook"), report)
    for number, name in enumerate(job.unique.by if job.unique else ()):
        if name not in job.params:
            what, close = f"{name} is not a param of the job", closest(name, job.params)
            at = (*path, "unique", "by", number)
            if close is None:
                report(at, told(what, "declare it under params"))
            else:
                fits = close not in (job.unique.by if job.unique else ())
                report(at, Message(f"{what}, did you mean {close}?", replacement=close if fits else ""))
            sound = False
    return sound


JOB = Section(JobSpec, {**FOREIGN_JOB_NAMES, **JOB_ALIASES}, check_job)
DEFAULTS = Defaults(JOB)
"""The ``defaults:`` of a jobs file and of ``runner.yaml``."""
