"""Options of other tools by the names that users type, with our name for each.

A message is shown to the user as it is.
"""

from __future__ import annotations

from runner.model.message import Message, hint


def _instead(what: str, remedy: str) -> Message:
    """Return a hint that ends with what to do."""
    return Message(f"({what}: {remedy})", remedy)


_COMMAND = hint("a shell command is kwargs.command of task runner.tasks.shell:run")
_SCRIPT = hint("a shell script is kwargs.script of task runner.tasks.shell:run")
_FOLDER = hint("a working folder is kwargs.cwd of task runner.tasks.shell:run")
_DEPENDS = _instead(
    "a job waits for others by require",
    "write require: [{job: NAME, within: 1d}], or write both as steps of one job",
)
_FIELDS = hint('write all fields as one expression, schedule: "0 2 * * *"')
_NO_CONTAINER = hint("jobs run in the worker, there are no containers")
_COALESCE = hint("write catchup: last in schedule, which is the default: missed slots become one run")
_AT_SUBMISSION = hint("it is given at submission: runner submit JOB --in 10m, or --at TIME")
_NOT_NEEDED = hint("it is not needed here, remove it")

FOREIGN_JOB_NAMES = {
    # Celery and its beat
    "options": hint("queue, priority, and expires are options of the job itself"),
    "relative": _NOT_NEEDED,
    "run_every": "schedule.every",
    "ignore_result": hint("write result: drop"),
    "acks_late": hint("a run is acknowledged once it has ended, see delivery"),
    "reject_on_worker_lost": "delivery",
    "throws": "retry.not_for",
    "link": "hooks.success",
    "link_error": "hooks.failure",
    "countdown": _AT_SUBMISSION,
    "eta": _AT_SUBMISSION,
    "serializer": _NOT_NEEDED,
    "track_started": _NOT_NEEDED,
    "bind": _NOT_NEEDED,
    "chain": "steps",
    "callbacks": "hooks.success",
    "errbacks": "hooks.failure",
    "result_serializer": _NOT_NEEDED,
    "exchange": "queue",
    "headers": hint("declare the values that a submitter may give under params"),
    # APScheduler
    "trigger": "schedule",
    "misfire_grace_time": hint("write catchup_window in schedule, with a unit, such as 1h"),
    "coalesce": _COALESCE,
    "id": hint("the name of a job is the key above its options"),
    "jobstore": _NOT_NEEDED,
    "replace_existing": _NOT_NEEDED,
    "next_run_time": _AT_SUBMISSION,
    "jitter": "schedule.jitter",
    "executor": "queue",
    "run_date": _AT_SUBMISSION,
    **dict.fromkeys(("seconds", "minutes", "hours", "days", "weeks"), "schedule.every"),
    **dict.fromkeys(("second", "minute", "hour", "day", "month", "day_of_week"), _FIELDS),
    **dict.fromkeys(("cmd", "entrypoint"), _COMMAND),
    **dict.fromkeys(("cronjob", "crontab_schedule", "repeat", "daily", "weekly", "hourly", "at", "on"), "schedule"),
    **dict.fromkeys(("run_at", "once", "first_run"), _AT_SUBMISSION),
    **dict.fromkeys(("start", "start_time"), "schedule.start"),
    **dict.fromkeys(("end", "end_time"), "schedule.end"),
    **dict.fromkeys(("tz", "timezone_name", "zone"), "schedule.timezone"),
    "catchup_window": "schedule.catchup_window",
    "backfill": "schedule.catchup",
    "limit": "concurrency.limit",
    "backoff": "retry.backoff",
    "delay": "retry.delay",
    **dict.fromkeys(("overlap", "allow_overlap", "no_overlap", "singleton", "mutex"), "concurrency"),
    **dict.fromkeys(("dedupe", "idempotency_key", "debounce"), "unique"),
    **dict.fromkeys(("notify", "notifications", "email", "email_on_failure", "on_error"), "hooks.failure"),
    **dict.fromkeys(("comment", "note", "title", "summary"), "description"),
    **dict.fromkeys(("meta", "labels", "owner"), "tags"),
    **dict.fromkeys(("output", "log_file", "logfile", "log"), hint("runner logs shows what a run writes")),
    "workdir": _FOLDER,
    # Kubernetes
    "jobTemplate": hint("write the job's options here: task, kwargs, timeout, retry"),
    "spec": hint("write the job's options here: task, kwargs, timeout, retry"),
    "template": hint("write the job's options here: task, kwargs, timeout, retry"),
    "containers": _NO_CONTAINER,
    "container": _NO_CONTAINER,
    "services": _NO_CONTAINER,
    "volumes": _NO_CONTAINER,
    "resources": hint("only memory is available, as an option of the job itself"),
    "parallelism": "concurrency.limit",
    "completions": hint("submit the job as often"),
    "serviceAccountName": hint("a run has the user of its worker"),
    "nodeSelector": "queue",
    "metadata": "tags",
    # GitHub Actions
    "run": _SCRIPT,
    "shell": _SCRIPT,
    "uses": "task",
    "with": "kwargs",
    **dict.fromkeys(("tasks", "stages", "dag", "pipeline", "workflow", "chord"), "steps"),
    "needs": _DEPENDS,
    "depends_on": _DEPENDS,
    "dependsOn": _DEPENDS,
    "if": "enabled",
    "runs-on": "queue",
    "timeout-minutes": "timeout",
    "continue-on-error": hint("each run has its own outcome, remove it"),
    "working-directory": _FOLDER,
    "strategy": hint("a job runs once for each submission: give the values as params"),
    "matrix": hint("a job runs once for each submission: give the values as params"),
    "cancel-in-progress": hint("write concurrency: {limit: 1, policy: replace}"),
    "outputs": hint("the return value of the function is the result"),
    # systemd
    "OnCalendar": "schedule",
    "OnUnitActiveSec": "schedule.every",
    "OnUnitInactiveSec": "schedule.every",
    "OnBootSec": hint('jobs cannot start at boot: write a time, schedule: "@daily"'),
    "OnStartupSec": hint('jobs cannot start at boot: write a time, schedule: "@daily"'),
    "Persistent": "schedule.catchup",
    "RandomizedDelaySec": "schedule.jitter",
    "AccuracySec": _NOT_NEEDED,
    "ExecStart": _COMMAND,
    "WorkingDirectory": _FOLDER,
    "Environment": "env",
    "EnvironmentFile": "env_file",
    "User": hint("a run has the user of its worker"),
    "user": hint("a run has the user of its worker"),
    "RuntimeMaxSec": "timeout",
    **dict.fromkeys(("MemoryMax", "MemoryHigh", "MemoryLimit"), "memory"),
    "TimeoutStartSec": "timeout",
    "TimeoutStopSec": hint("the time between SIGTERM and SIGKILL is kwargs.grace of task runner.tasks.shell:run"),
    "Restart": "retry",
    "RestartSec": "retry.delay",
    "StartLimitBurst": "retry.max_retries",
    "OnFailure": "hooks.failure",
    "OnSuccess": "hooks.success",
    "Description": "description",
    # Dagu
    "mailOn": "hooks",
    "mail_on": "hooks",
    "smtp": hint("a mail is a job of task runner.tasks.notify:email, named under hooks"),
    "catchupWindow": "schedule.catchup_window",
    "overlapPolicy": "concurrency.policy",
    "skipIfSuccessful": "unique",
    "preconditions": hint("check it in the job, and end it there"),
    "precondition": hint("check it in the job, and end it there"),
    "repeatPolicy": "schedule.every",
    "continueOn": hint("each run has its own outcome, remove it"),
    "dotenv": "env_file",
    "delaySec": "schedule.jitter",
    "signalOnStop": hint("use runner revoke --terminate --signal NAME"),
    "dir": _FOLDER,
    "cwd": _FOLDER,
    "group": "tags",
    "call": "task",
    "stdout": hint("runner logs shows what a run writes"),
    "stderr": hint("runner logs shows what a run writes"),
    "logDir": hint("runner logs shows what a run writes"),
    # Airflow, RQ, procrastinate
    "schedule_interval": "schedule",
    "catchup": "schedule.catchup",
    "max_active_runs": "concurrency.limit",
    "max_consecutive_failed_dag_runs": "pause_after",
    "execution_timeout": "timeout",
    "retry_delay": "retry.delay",
    "retry_exponential_backoff": "retry.backoff",
    "on_failure_callback": "hooks.failure",
    "on_success_callback": "hooks.success",
    "on_execute_callback": "hooks.start",
    "sla_miss_callback": "hooks.silent",
    "python_callable": "task",
    "op_kwargs": "kwargs",
    "op_args": "args",
    "bash_command": _SCRIPT,
    "start_date": "schedule.start",
    "end_date": "schedule.end",
    "sla": "alert_if_no_success",
    "job_timeout": "timeout",
    "result_ttl": "retention.result",
    "failure_ttl": "retention.history",
    "ttl": "expires",
    "lock": "concurrency.key",
    "queueing_lock": "unique",
    "periodic": "schedule",
    "pool": "queue",
    "dag_id": hint("the name of a job is the key above its options"),
    "when": "schedule",
}

_BY_JOB = hint("it is an option of the job, not of a step: write it beside steps")
_OF_JOB = (
    *("schedule", "watch", "webhook", "concurrency", "rate", "require", "unique", "hooks", "pause_after"),
    *("alert_if_no_success", "retention", "tags", "enabled", "on_failure", "steps", "cron", "notify"),
)

FOREIGN_STEP_NAMES = {
    **dict.fromkeys(_OF_JOB, _BY_JOB),
    "concurrency": hint("write at_once for the items of a step; concurrency is an option of the job"),
    "name": hint("the name of a step is the key above its options"),
    "id": hint("the name of a step is the key above its options"),
    "task_id": hint("the name of a step is the key above its options"),
    # What it needs
    **dict.fromkeys(("depends", "depends_on", "dependsOn", "dependencies", "after", "upstream", "parents"), "needs"),
    **dict.fromkeys(("require", "requires", "wait_for", "waitFor"), "needs"),
    "trigger_rule": "when",
    **dict.fromkeys(("condition", "preconditions", "precondition", "only_if", "runIf", "run_if"), "if"),
    **dict.fromkeys(("unless", "skip_if", "skipIf"), hint("write if, with a placeholder that gives false to skip")),
    **dict.fromkeys(("always", "always_run", "alwaysRun"), hint("write when: ended")),
    **dict.fromkeys(("continue_on_error", "continue-on-error", "continueOn", "continue_on"), "may_fail"),
    **dict.fromkeys(("allow_failure", "allowFailure", "ignore_errors", "ignore_failure", "optional"), "may_fail"),
    # Items
    **dict.fromkeys(("foreach", "for_each", "forEach", "with_items", "withItems", "with_param", "withParam"), "each"),
    **dict.fromkeys(("withSequence", "items", "loop", "map", "expand", "fan_out"), "each"),
    "parallel": hint("write each for the items, and at_once for how many may be under way"),
    "matrix": hint("write each: {NAME: [one, two], …} for every combination"),
    "strategy": hint("write each: {NAME: [one, two], …} for every combination, and at_once in place of max-parallel"),
    **dict.fromkeys(("max-parallel", "max_parallel", "maxParallel", "parallelism", "batch_size"), "at_once"),
    **dict.fromkeys(("maxConcurrent", "max_concurrent", "maxActiveSteps", "concurrency_limit"), "at_once"),
    # What it runs
    **dict.fromkeys(("run", "script", "shell", "bash_command"), _SCRIPT),
    **dict.fromkeys(("command", "cmd", "exec", "entrypoint"), _COMMAND),
    **dict.fromkeys(("uses", "func", "function", "callable", "python_callable", "call", "path", "target"), "task"),
    "action": hint("write task for a function, or job for another job"),
    **dict.fromkeys(("template", "templateRef", "subworkflow", "workflow", "dag", "sub_dag", "flow", "child"), "job"),
    **dict.fromkeys(("container", "containers", "image", "services", "volumes"), _NO_CONTAINER),
    **dict.fromkeys(("executor", "runs-on", "runs_on", "pool"), "queue"),
    **dict.fromkeys(
        ("with", "arguments", "inputs", "op_kwargs", "input"), hint("write kwargs for a task, params for a job")
    ),
    "parameters": "params",
    **dict.fromkeys(("working-directory", "workingDir", "working_dir", "workdir", "dir", "cwd"), _FOLDER),
    **dict.fromkeys(("environ", "environment", "environment_variables"), "env"),
    "envFile": "env_file",
    "dotenv": "env_file",
    "secret": "secrets",
    **dict.fromkeys(
        ("output", "outputs", "return", "save_as"),
        hint("a task's return value is its result: ${steps.NAME.result}"),
    ),
    **dict.fromkeys(("wait", "manual", "suspend", "pause", "human", "approve", "confirm"), "approval"),
    # How it runs
    **dict.fromkeys(
        ("timeout-minutes", "timeoutSec", "time_limit", "execution_timeout", "activeDeadlineSeconds"), "timeout"
    ),
    "soft_time_limit": "soft_timeout",
    **dict.fromkeys(("retries", "max_retries", "maxRetries", "attempts"), "retry.max_retries"),
    **dict.fromkeys(("retryPolicy", "retry_policy", "retryStrategy"), "retry"),
    **dict.fromkeys(("retry_delay", "default_retry_delay", "delay"), "retry.delay"),
    "autoretry_for": "retry.for",
    "repeatPolicy": hint("a flow has no loops: write each, or schedule the job"),
    "signalOnStop": hint("use runner revoke --terminate --signal NAME"),
    **dict.fromkeys(("desc", "title", "label", "comment"), "description"),
    **dict.fromkeys(("stdout", "stderr", "log"), hint("runner logs shows what a run writes")),
    **dict.fromkeys(
        ("link", "on_success", "next", "then", "downstream"), hint("the next step names this one under needs")
    ),
    **dict.fromkeys(
        ("link_error", "on_error", "on_failure_callback"), hint("write a step with needs, and when: failed")
    ),
}

FOREIGN_SCHEDULE_NAMES = {
    "coalesce": hint("write catchup: last, which is the default: missed slots become one run"),
    "trigger": hint("write cron or every"),
    "type": hint("write cron or every"),
    "run_every": "every",
    "period": "every",
    **dict.fromkeys(("minutes", "hours", "days", "weeks"), "every"),
    **dict.fromkeys(
        ("second", "minute", "hour", "day", "month", "day_of_week", "day_of_month", "month_of_year"),
        hint('write all fields as one expression, cron: "0 2 * * *"'),
    ),
    "run_date": _AT_SUBMISSION,
    "OnCalendar": "cron",
    "OnUnitActiveSec": "every",
    "OnUnitInactiveSec": "every",
    "Persistent": "catchup",
    "AccuracySec": _NOT_NEEDED,
    "CRON_TZ": "timezone",
    "TZ": "timezone",
    "zone": "timezone",
    "catchupWindow": "catchup_window",
    "catchUp": "catchup",
    "stop": hint("set timeout in the job"),
    "restart": hint("set timeout in the job"),
    "schedule": "cron",
    "hash": "jitter",
}

_OF_FILE = hint("a file has jobs: with a name and options for each job")

_OF_SETTINGS = hint("it belongs in runner.yaml")

FOREIGN_TOP_NAMES = {
    "job": "jobs",
    "tasks": "jobs",
    "task": "jobs",
    "default": "defaults",
    "job_defaults": "defaults",
    "schedule": "jobs",
    "schedules": "jobs",
    "dags": "jobs",
    "workflows": "jobs",
    "cronjobs": "jobs",
    "crontab": "jobs",
    "beat_schedule": "jobs",
    "CELERYBEAT_SCHEDULE": "jobs",
    "CELERY_BEAT_SCHEDULE": "jobs",
    "spec": "jobs",
    "services": "jobs",
    "steps": hint("steps belong to a job: write them below its name, under jobs"),
    **dict.fromkeys(("pipeline", "pipelines", "stages", "workflow", "cron", "crons", "scheduler", "periodic"), "jobs"),
    **dict.fromkeys(("run", "command", "script"), _OF_FILE),
    **dict.fromkeys(("Unit", "Timer", "Service", "type", "logDir", "group"), _OF_FILE),
    **dict.fromkeys(("timezone", "redis_url", "namespace", "worker", "limits", "python_path"), _OF_SETTINGS),
    **dict.fromkeys(("triggers", "trigger"), hint("use schedule in the job")),
    "name": _OF_FILE,
    "version": _OF_FILE,
    "apiVersion": _OF_FILE,
    "kind": _OF_FILE,
    "metadata": _OF_FILE,
    "on": hint("use schedule in the job"),
    "permissions": _OF_FILE,
    "handlerOn": hint("use hooks in the job"),
    "handler_on": hint("use hooks in the job"),
    "jobstores": _OF_FILE,
    "executors": _OF_FILE,
    "include": hint("every file of jobs.d is read"),
    "imports": hint("every file of jobs.d is read"),
}

_OF_JOBS = hint("jobs are declared in files of jobs_dir")

FOREIGN_SETTING_NAMES = {
    **dict.fromkeys(("beat_schedule", "CELERYBEAT_SCHEDULE", "CELERY_BEAT_SCHEDULE", "steps", "tasks"), _OF_JOBS),
    "dags": "jobs_dir",
    **dict.fromkeys(("BROKER_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "REDIS_URL"), "redis_url"),
    **dict.fromkeys(("include", "imports", "CELERY_IMPORTS"), hint("a job names its function: task: module:function")),
    **dict.fromkeys(("enable_utc", "CELERY_ENABLE_UTC"), hint("times are kept in UTC, and shown in timezone")),
    "CELERY_TIMEZONE": "timezone",
    "timeZone": "timezone",
    "worker_concurrency": "worker.concurrency",
    "worker_max_tasks_per_child": "worker.recycle.runs",
    "worker_max_memory_per_child": "worker.recycle.memory",
    "recycle": "worker.recycle",
    "visibility_timeout": "worker.lease",
    "result_expires": "retention.result",
    "task_time_limit": "defaults.timeout",
    "task_soft_time_limit": "defaults.soft_timeout",
    "task_default_queue": "defaults.queue",
    "job_defaults": "defaults",
    "default": "defaults",
    "jobstores": "redis_url",
    "executors": "worker.concurrency",
}
