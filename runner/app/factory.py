"""Generates the Celery app of a project: a task a job, and the settings that the runner owns."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.utils.log import get_logger
from kombu import Exchange, Queue

from runner.app.capture.child import Capture
from runner.app.capture.collector import Collector
from runner.app.consumer import JobConsumer
from runner.app.job_task import JobTask, reason_of
from runner.app.registry import make_task
from runner.app.reload import LiveFiles, Reload
from runner.app.secret_values import secret_variables
from runner.app.settler import Settler
from runner.app.steps import Announce, Lease
from runner.delivery.claims import Claims
from runner.delivery.transport import MARKED_ARGUMENT
from runner.errors import InvalidParams, JobDisabled, UnknownJob
from runner.ledger.backend import LedgerBackend
from runner.ledger.connection import resolve_url
from runner.ledger.ledger import Ledger
from runner.ledger.submission import Submission
from runner.settings import Settings
from runner.spec.catalog import Catalog
from runner.spec.params import check_params

log = get_logger(__name__)


class RunnerApp(Celery):
    """The generated app. Submissions through it go to the ledger; only declared jobs can be sent."""

    runner_settings: Settings
    catalog: Catalog
    files: LiveFiles | None = None
    """Follows the files of jobs; None in a process that does not, such as a client."""
    reload_code: bool = False
    """Whether the worker starts anew when Python files of ``python_path`` change."""
    restart: bool = False
    """Whether what ends now shall start anew."""
    claims: Claims
    collector: Collector | None = None
    """Keeps what runs write; None where the pool has no children."""
    capture: Capture | None = None
    """In a pool child: its side of that."""
    settler: Settler
    job_names: frozenset[str]
    log_form: str = "text"
    """How the worker's log is written: text, json, or plain (what runs write as it is)."""
    worker_name: str = ""
    project_app: Any = None
    """The Celery app that the project's own code made, if it did."""
    ends: bool = False
    """Whether this worker ends, and waits for Redis no longer. (Each thread has a backend of its own.)"""
    pool_name: str = ""
    """Which of Celery's pools this worker has, such as prefork."""
    _variables: frozenset[str] = frozenset()
    _variables_of: Catalog | None = None
    run_queues: Sequence[str] = ()
    """The queues that this worker takes runs from."""

    def beat_soon(self) -> None:
        """Have the worker's next beat now; the lease step puts its own in place of this."""

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """The result class of this app."""
        return self.subclass_with_self("runner.app.job_result:JobResult", name="AsyncResult")

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """The worker program of this app."""
        return self.subclass_with_self("runner.app.job_worker:JobWorker", name="Worker", reverse="Worker")

    @property
    def secret_variables(self) -> frozenset[str]:
        """The variables of this worker that hold secrets of any job."""
        if self._variables_of is not self.catalog:
            self._variables = secret_variables(self.catalog.with_secrets())
            self._variables_of = self.catalog
        return self._variables

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
                eta=start if countdown is None else None,
                delay=countdown,
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
    extend_path(settings)
    app = RunnerApp(
        settings.namespace,
        task_cls=JobTask,
        set_as_current=True,
        broker_transport="runner.delivery.transport:Transport",
    )
    app.runner_settings = settings
    app.catalog = catalog
    app.job_names = frozenset(catalog.jobs)
    app.settler = Settler()
    app.claims = Claims(app.open_ledger, settings.worker.lease)
    app.conf.update(dict(settings.celery))
    app.conf.update(_owned(settings, catalog))
    for job in catalog.jobs.values():
        make_task(app, job)
    app.steps["consumer"].update((Lease, Reload, Announce))
    return app


def extend_path(settings: Settings) -> None:
    """Put ``python_path`` in front of ``sys.path``.

    Also where a folder is there already: Celery's command line adds the working folder for a while, and takes
    it away again.
    """
    for folder in reversed(settings.python_path):
        sys.path.insert(0, str(folder))


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
        "worker_redirect_stdouts": False,
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


__all__ = ["RunnerApp", "UnknownJob", "create_app"]
