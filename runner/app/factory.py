"""Generates the Celery app of a project: a task a job, and the settings that the runner owns."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import uuid4

from celery import Celery, signals
from celery.utils.log import get_logger
from celery.worker import state
from kombu import Exchange, Queue

from runner.app.consumer import JobConsumer
from runner.app.job_task import JobTask, reason_of
from runner.app.steps import Announce, Lease
from runner.delivery.claims import Claims
from runner.delivery.transport import INBOX, MARKED_ARGUMENT
from runner.errors import InvalidParams, InvalidSettings, JobDisabled, UnknownJob
from runner.ledger.backend import LedgerBackend
from runner.ledger.connection import resolve_url
from runner.ledger.ledger import Ledger, Submission
from runner.model.job import JobSpec
from runner.process_group import guard
from runner.settings import Settings
from runner.spec.catalog import Catalog
from runner.spec.params import check_params

log = get_logger(__name__)

SAFE_COMMANDS = frozenset(
    {
        "ping",
        "stats",
        "active",
        "reserved",
        "registered",
        "active_queues",
        "query_task",
        "hello",
        "report",
        "conf",
        "clock",
        "scheduled",
        "revoked",
    }
)
"""Remote control that only looks (``worker.remote_control: safe``)."""


class RunnerApp(Celery):
    """The generated app. Submissions through it go to the ledger; only declared jobs can be sent."""

    runner_settings: Settings
    catalog: Catalog
    claims: Claims
    job_names: frozenset[str]
    worker_name: str = ""

    def beat_soon(self) -> None:
        """Have the worker's next beat now; the lease step puts its own in place of this."""

    @property
    def run_queues(self) -> list[str]:
        """The queues that this worker takes runs from."""
        return sorted(name for name in self.amqp.queues.consume_from if name != INBOX)

    def open_ledger(self) -> Ledger:
        """Return a ledger with a connection of its own."""
        return Ledger.open(self.runner_settings)

    def _get_backend(self) -> LedgerBackend:
        return LedgerBackend(self, str(self.conf.broker_url), self.open_ledger, reason_of)

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        countdown: float | None = None,
        eta: datetime | str | None = None,
        task_id: str | None = None,
        expires: float | datetime | None = None,
        queue: Any = None,
        priority: int | None = None,
        **_options: Any,
    ) -> Any:
        """Submit a run of job ``name``; return its ``AsyncResult``.

        Raises:
            UnknownJob: ``name`` is no sound job.
            InvalidParams: ``kwargs`` do not fit its params, or there are positional arguments.
            JobDisabled: the job says ``enabled: false``.
        """
        job = self.catalog.get(name)
        if not job.enabled:
            raise JobDisabled(f"job {name} is disabled", hint=f"set enabled: true in {job.file}")
        if args:
            raise InvalidParams(f"job {name} takes keyword arguments only", hint="pass params as kwargs")
        start = _when(countdown, eta)
        submitted = self.backend.ledger.submit(
            Submission(
                id=task_id or str(uuid4()),
                job=job,
                params=check_params(job, kwargs or {}),
                queue=str(getattr(queue, "name", None) or queue or job.queue),
                priority=job.priority if priority is None else priority,
                trigger="celery",
                submitted_by=f"pid{os.getpid()}@{os.uname().nodename}",
                eta=start,
                expires=_seconds(expires, start) if expires is not None else job.expires,
            )
        )
        return self.AsyncResult(submitted.id)


def _when(countdown: float | None, eta: datetime | str | None) -> float | None:
    if countdown is not None:
        return time.time() + float(countdown)
    if eta is None:
        return None
    moment = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    return moment.timestamp()


def _seconds(expires: float | datetime, start: float | None) -> float:
    if isinstance(expires, datetime):
        return max(0.001, expires.timestamp() - (start or time.time()))
    return float(expires)


def create_app(settings: Settings, catalog: Catalog) -> RunnerApp:
    """Return the Celery app of a project.

    Nothing is imported on behalf of a job and nothing is connected until a worker starts.
    """
    for folder in reversed(settings.python_path):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    app = RunnerApp(
        settings.namespace,
        task_cls=JobTask,
        set_as_current=True,
        broker_transport="runner.delivery.transport:Transport",
    )
    app.runner_settings = settings
    app.catalog = catalog
    app.job_names = frozenset(catalog.jobs)
    app.claims = Claims(app.open_ledger, settings.worker.lease)
    app.conf.update(dict(settings.celery))
    app.conf.update(_owned(settings, catalog))
    for job in catalog.jobs.values():
        _register(app, job)
    app.steps["consumer"].update((Lease, Announce))
    app.runner_connected = _connect_signals(app)
    return app


def _owned(settings: Settings, catalog: Catalog) -> dict[str, Any]:
    """Return the Celery settings that the runner owns (``settings.OWNED`` refuses them in YAML)."""
    namespace = settings.namespace
    exchange = Exchange(f"{namespace}.runs", type="direct")
    names = {*settings.worker.queues, *(job.queue for job in catalog.jobs.values())}
    return {
        "broker_url": resolve_url(settings),
        "broker_transport_options": {
            "namespace": namespace,
            "health_check_interval": 25,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "fanout_prefix": True,
            "fanout_patterns": True,
        },
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "event_serializer": "json",
        "enable_utc": True,
        "timezone": "UTC",
        "task_track_started": True,
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": False,
        "task_ignore_result": False,
        "task_store_errors_even_if_ignored": True,
        "task_always_eager": False,
        "task_send_sent_event": False,
        "worker_send_task_events": settings.celery.get("worker_send_task_events", False),
        "worker_deduplicate_successful_tasks": False,
        "worker_pool_restarts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_enable_prefetch_count_reduction": False,
        "worker_consumer": f"{JobConsumer.__module__}:{JobConsumer.__qualname__}",
        "worker_concurrency": settings.worker.concurrency,
        "worker_prefetch_multiplier": settings.celery.get("worker_prefetch_multiplier", 1),
        "worker_hijack_root_logger": settings.celery.get("worker_hijack_root_logger", True),
        "task_default_queue": "default",
        "task_queues": [
            Queue(name, exchange, routing_key=name, queue_arguments={MARKED_ARGUMENT: True})
            for name in sorted({"default", *names})
        ],
        "task_create_missing_queues": True,
        "control_exchange": namespace,
        "event_exchange": f"{namespace}.events",
        "event_queue_prefix": f"{namespace}.events",
        "result_expires": None,
    }


def _register(app: RunnerApp, job: JobSpec) -> None:
    """Register a job under its own name."""
    task = type(
        "Job",
        (JobTask,),
        {
            "name": job.name,
            "__module__": JobTask.__module__,
            "__doc__": job.description,
            "job": job,
            "queue": job.queue,
            "priority": job.priority,
            "time_limit": job.timeout,
            "soft_time_limit": job.soft_timeout,
            "expires": None,
            "app": app,
        },
    )()
    app.register_task(task)


def _connect_signals(app: RunnerApp) -> list[Any]:
    """Connect what happens when a worker starts; return the receivers, which Celery holds weakly."""

    def prepare_worker(sender: Any = None, instance: Any = None, **_: Any) -> None:
        worker = instance or sender
        app.worker_name = worker.hostname
        # What a job starts finds the project as its worker did.
        os.environ["RUNNER_PROJECT"] = str(app.runner_settings.project)
        refuse_pool(app, worker.pool_cls)
        queues = app.amqp.queues
        for queue in list(queues.consume_from.values()):
            # `-Q new` makes a queue that Celery knows nothing of yet.
            queue.queue_arguments = {**(queue.queue_arguments or {}), MARKED_ARGUMENT: True}
        inbox = Queue(
            INBOX,
            Exchange(f"{app.runner_settings.namespace}.inbox"),
            routing_key=INBOX,
            queue_arguments={MARKED_ARGUMENT: True},
        )
        queues.select_add(inbox)
        options = app.conf.broker_transport_options
        app.conf.broker_transport_options = {
            **options,
            "claims": app.claims,
            "worker_name": worker.hostname,
            "is_running": is_running,
        }
        run_setup(app.runner_settings)
        for name in sorted(app.job_names):
            broken = app.tasks[name].prepare()
            if broken:
                log.error("job %s is quarantined, its runs end in FAILURE/import_error: %s", name, broken)

    def prepare_child(**_: Any) -> None:
        # A group of its own: what a job starts can be ended with it, and a terminal's Ctrl-C is the parent's affair.
        os.setpgid(0, 0)
        guard(os.getpgrp())

    def allow_commands(sender: Any = None, **_: Any) -> None:
        if app.runner_settings.worker.remote_control == "safe":
            restrict_commands()

    signals.celeryd_after_setup.connect(prepare_worker, weak=False)
    signals.worker_process_init.connect(prepare_child, weak=False)
    signals.worker_init.connect(allow_commands, weak=False)
    return [prepare_worker, prepare_child, allow_commands]


def is_running(token: str) -> bool:
    """Whether a claim's run is in this worker's pool."""
    return any(getattr(request, "token", None) == token for request in tuple(state.active_requests))


def restrict_commands() -> None:
    """Leave only the remote control commands that look and do not touch."""
    from celery.worker.control import Panel

    for name in set(Panel.data) - SAFE_COMMANDS:
        del Panel.data[name]


def refuse_pool(app: RunnerApp, pool_cls: Any) -> None:
    """Refuse to start with a pool that cannot honour what a job declares.

    Raises:
        InvalidSettings: naming the jobs and the options.
    """
    pool = str(getattr(pool_cls, "__module__", pool_cls)).rpartition(".")[2]
    if pool == "prefork":
        return
    needing = {job.name: job.needs_prefork for job in app.catalog.jobs.values() if job.needs_prefork}
    if needing:
        named = ", ".join(f"{name} ({option})" for name, option in sorted(needing.items()))
        raise InvalidSettings(
            f"the {pool} pool cannot honour timeout, soft_timeout and env, which these jobs declare: {named}",
            hint="use the prefork pool (-P prefork), or give those jobs a queue of their own",
        )


def run_setup(settings: Settings) -> None:
    """Call ``setup`` of runner.yaml, before any job is imported.

    Raises:
        InvalidSettings: it cannot be imported.
    """
    if settings.setup is None:
        return
    from runner.app.target import TargetError, load_target

    try:
        load_target(settings.setup)()
    except TargetError as error:
        raise InvalidSettings(f"setup: {error}", hint="correct setup in runner.yaml") from error


__all__ = ["RunnerApp", "UnknownJob", "create_app"]
