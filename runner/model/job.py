"""The job. Each option of ``jobs.d`` is declared here once; everything else derives from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from runner._dataclass import dataclass
from runner.model.concurrency import CONCURRENCY_ALIASES, Concurrency, check_key
from runner.model.foreign_names import COMMAND, FOLDER, FOREIGN_JOB_NAMES, SCRIPT
from runner.model.hooks import HOOKS_ALIASES, UNIQUE_ALIASES, Hooks, Unique
from runner.model.message import advise, hint, suggest
from runner.model.option import (
    Defaults,
    Duration,
    Flag,
    Integer,
    ListOf,
    Path,
    Report,
    Section,
    Text,
    closest,
    known_options,
    missing,
    option,
)
from runner.model.param import PARAMS, Param
from runner.model.rate import RATE_ALIASES, Rate
from runner.model.require import REQUIRED, Require
from runner.model.schedule import SCHEDULES, Schedule
from runner.model.step import STEPS, OnFailure, Step
from runner.model.task_options import TaskOptions, check_task_options
from runner.model.template import params_known
from runner.model.watch import WATCH_ALIASES, Watch, check_watch
from runner.model.webhook import WEBHOOK_ALIASES, Webhook, check_webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The ``retention:`` section: how long finished runs are kept. Durations are seconds.

    A field that is None has the value of ``retention`` in ``runner.yaml``.
    """

    result: float | None = option(
        Duration(1.0),
        default=None,
        help="How long the result of a run is kept; its state is kept for longer.",
        examples=("1d",),
    )
    history: float | None = option(
        Duration(1.0), default=None, help="How long a finished run is kept.", examples=("30d",)
    )
    runs: int | None = option(
        Integer(1, 1_000_000), default=None, help="How many finished runs of the job are kept.", examples=(1000,)
    )
    keep_at_least: float | None = option(
        Duration(),
        default=None,
        help="How long a finished run is kept even if there are more than runs; history still applies.",
        examples=("1h",),
    )


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
    "on_success": "hooks.success",
    "rate_limit": "rate",
    "name": hint("the name of a job is the key above its options"),
    "depends": hint("write require: [{job: NAME, within: 1d}]"),
    "type": hint("a job has no type; task names what to run"),
    "restartPolicy": "retry",
    "retry_policy": "retry",
    "retry_kwargs": "retry",
    "image": hint("jobs run in the worker; there are no images"),
    "workingDir": FOLDER,
    "working_dir": FOLDER,
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
    "command": COMMAND,
    "script": SCRIPT,
    "labels": "tags",
    "desc": "description",
    "help": "description",
}
"""Names from other tools, in addition to :data:`FOREIGN_JOB_NAMES`."""


RETENTION_ALIASES = {
    "results": "result",
    "result_expires": "result",
    "keep": "history",
    "max_runs": "runs",
    "count": "runs",
    "histRetentionDays": "history",
}

_NO_HOOKS = Hooks()
_PROJECT_RETENTION = Retention()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec(TaskOptions):
    """A job with its defaults merged in. It has either a task or steps. Durations are seconds."""

    FIRST: ClassVar = ("task", "steps", "on_failure", "description", "tags", "enabled", "args", "kwargs", "params")

    name: str
    steps: Mapping[str, Step] = option(
        STEPS,
        default={},
        help="Instead of task: the steps of a flow, each a task, another job, or an approval. A step starts when the "
        "steps that it needs have ended.",
        examples=({"load": {"task": "etl:load"}, "check": {"needs": ["load"], "job": "quality-check"}},),
    )
    on_failure: str = option(
        OnFailure(
            ("finish", "stop"), (("terminate", "stop"), ("cancel", "stop"), ("fail", "stop"), ("continue", "finish"))
        ),
        default="finish",
        help="What happens when a step of a flow fails: finish lets steps that do not need it go on; stop terminates "
        "those that run, and starts no more except steps with when: failed or ended.",
    )
    tags: tuple[str, ...] = option(
        ListOf(Text(min_length=1, max_length=64), unique=True),
        default=(),
        help="Labels to group and filter jobs by.",
        examples=(["finance"],),
    )
    enabled: bool = option(
        Flag(), default=True, help="false: the job cannot be submitted, and its schedule does not fire."
    )
    params: Mapping[str, Param] = option(
        PARAMS,
        default={},
        help="The values that a submitter may give: names with a JSON Schema, and required, default, and description.",
        examples=({"day": {"type": "string", "format": "date", "required": True}},),
    )
    schedule: tuple[Schedule, ...] = option(
        SCHEDULES,
        default=(),
        help="When the job runs by itself: a cron expression, a mapping with cron or every, or a list of these.",
        examples=("0 2 * * *", {"every": "15m"}, {"cron": "@daily", "timezone": "Europe/Berlin", "jitter": "5m"}),
    )
    watch: Watch | None = option(
        Section(Watch, WATCH_ALIASES),
        default=None,
        help="Files that each start a run once they have stopped growing, one for each version of a file. The path is "
        "the param path.",
        examples=({"path": "inbox/*.csv", "settle": "30s"},),
    )
    webhook: Webhook | None = option(
        Section(Webhook, WEBHOOK_ALIASES),
        default=None,
        help="Requests to POST /hooks/JOB of runner web that each submit a run, once per delivery.",
        examples=({"signature": "github", "secret": "env:GITHUB_WEBHOOK_SECRET", "params": {"branch": "ref"}},),
    )
    concurrency: Concurrency | None = option(
        Section(Concurrency, CONCURRENCY_ALIASES),
        default=None,
        help="How many runs of the job may be under way at once, on all workers together.",
        examples=({"limit": 1}, {"limit": 2, "policy": "skip", "key": "${params.region}"}),
    )
    rate: Rate | None = option(
        Section(Rate, RATE_ALIASES),
        default=None,
        help="How many runs of the job may start within some time, on all workers together; the others wait in order.",
        examples=({"limit": 100, "per": "1m"}, {"limit": 10, "per": "1s", "key": "${params.tenant}"}),
    )
    require: tuple[Require, ...] = option(
        REQUIRED,
        default=(),
        help="Jobs that must have succeeded recently; a run waits until they have, or until it expires.",
        examples=([{"job": "extract", "within": "20h"}],),
    )
    unique: Unique | None = option(
        Section(Unique, UNIQUE_ALIASES),
        default=None,
        help="A second submission within some time returns the first run, unless that was revoked.",
        examples=({"for": "1h", "by": ["day"]},),
    )
    hooks: Hooks = option(
        Section(Hooks, HOOKS_ALIASES),
        default=_NO_HOOKS,
        help="Jobs to submit on an outcome of a run; their param run is the run document.",
        examples=({"failure": ["page-oncall"]},),
    )
    pause_after: int | None = option(
        Integer(1, 1_000_000),
        default=None,
        help="Pause the job after this many failures in a row; resuming it resets the count.",
        examples=(5,),
    )
    alert_if_no_success: float | None = option(
        Duration(1.0),
        default=None,
        help="If no run of the job has succeeded for this long, runner doctor, the dashboard, and the metrics report "
        "it, and the hook silent fires.",
        examples=("26h",),
    )
    retention: Retention = option(
        Section(Retention, RETENTION_ALIASES),
        default=_PROJECT_RETENTION,
        help="How long finished runs and their results are kept.",
    )

    digest: str = ""
    """``sha256:`` and the digest of all options, defaults included. A run stores that of its submission."""
    file: str = ""
    """The file that declares the job, relative to the project."""
    line: int = 0
    """The line of the job's name in that file, counted from 1."""
    flow: str | None = None
    """The flow, if this is the job of a step, which :mod:`runner.catalog.steps` makes."""
    step: str | None = None
    """The name of the step, if this is the job of a step."""

    @property
    def import_path(self) -> str:
        """The import path of the task; empty if the job has steps."""
        return self.task or ""

    @property
    def is_flow(self) -> bool:
        """Whether a run of the job is a flow."""
        return bool(self.steps)

    @property
    def needs_prefork(self) -> str | None:
        """The first option that only the prefork pool supports, or None; always None for a flow."""
        if self.steps:
            return None
        for name in ("timeout", "soft_timeout", "memory", "env", "env_file", "secrets", "isolation"):
            if getattr(self, name):
                return name
        if self.concurrency is not None and self.concurrency.policy == "replace":
            return "concurrency.policy"
        return None


def check_job(job: JobSpec, path: Path, report: Report) -> bool:
    """Report the options of a job that contradict each other; return whether there are none."""
    sound = check_task_options(job, path, report)
    if job.steps:
        sound &= _check_flow(job, path, report)
    elif job.task is None:
        report(path, missing(known_options(JobSpec)["task"]), on_key=True)
        sound = False
    if not job.steps and job.on_failure != "finish":
        report((*path, "on_failure"), advise("has no effect without steps", "remove it"), on_key=True)
        sound = False
    if job.hooks.silent and job.alert_if_no_success is None:
        report((*path, "hooks", "silent"), advise("never fires", "add alert_if_no_success: 26h to the job"))
        sound = False
    if job.hooks.overrun and job.overrun is None:
        report((*path, "hooks", "overrun"), advise("never fires", "add overrun: 30m to the job"))
        sound = False
    for name in job.params:
        if name in job.kwargs:
            report((*path, "params", name), advise("is fixed by kwargs", "remove one of the two"), on_key=True)
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
                report(at, advise(what, "declare it under params"))
            else:
                fits = close not in (job.unique.by if job.unique else ())
                report(at, suggest(what, close, replacement=close if fits else ""))
            sound = False
    return sound


NOT_OF_FLOWS = {
    "task": "move it into a step",
    "args": "move it into a step",
    "kwargs": "move it into a step",
    "soft_timeout": "move it into a step",
}


def _check_flow(job: JobSpec, path: Path, report: Report) -> bool:
    sound = True
    for name, advice in NOT_OF_FLOWS.items():
        if getattr(job, name):
            report((*path, name), advise("cannot be combined with steps", advice), on_key=True)
            sound = False
    return sound


JOB = Section(JobSpec, {**FOREIGN_JOB_NAMES, **JOB_ALIASES}, check_job)
DEFAULTS = Defaults(JOB)
"""The ``defaults:`` of a jobs file and of ``runner.yaml``."""
