"""Generate the Celery app of a project: a task for each job and each task step, and the runner's settings."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.utils.log import get_logger
from kombu import Exchange, Queue
from kombu.utils.imports import symbol_by_name

from runner.app.celery_options import read_options
from runner.app.celery_types import DeclaredTask
from runner.app.registry import make_task
from runner.app.secret_sources import secret_variables
from runner.archive.behind import Behind
from runner.catalog.catalog import Catalog, load_catalog
from runner.delivery.courier import LeavingCourier, open_ledger, with_courier
from runner.delivery.queue_keys import queue_key_options
from runner.delivery.transport import MARKED_ARGUMENT
from runner.errors import InvalidParams, Unavailable, UnknownJob
from runner.ledger.address import resolve_url
from runner.ledger.admission import Origin, admit
from runner.ledger.backend import LedgerBackend
from runner.ledger.connection import connect
from runner.ledger.ledger import Ledger
from runner.ledger.submission import Submission
from runner.model.job import JobSpec
from runner.model.run import Run
from runner.settings import Settings
from runner.settings.broker_url import broker_secrets, read_brokers
from runner.settings.redis_url import secrets_of

log = get_logger(__name__)

CATALOG_SECONDS = 1.0
"""The maximum age of a client's catalog (seconds): changed YAML is used after this time, and a new job at once."""


class RunnerApp(Celery):
    """The generated app. Submissions through it go to the ledger; only declared jobs can be sent."""

    control_cls = "runner.app.client_control:JobControl"

    runner_settings: Settings
    catalog: Catalog
    job_names: frozenset[str]
    project_app: object = None
    """The Celery app that the project's code created, if any."""
    in_worker: bool = False
    """Whether a worker runs this app: a worker follows the job files by itself and sets the catalog."""
    _variables: frozenset[str] = frozenset()
    _variables_of: Catalog | None = None
    _submitted_from: Catalog | None = None
    _looked_at: float = 0.0
    _files_mutex: threading.Lock

    def fix_secret_variables(self, names: frozenset[str]) -> None:
        """Set the names of the variables with secrets; a taker process gets them from its parent."""
        self._variables, self._variables_of = names, self.catalog

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 - Celery's name
        """Return the result class of this app."""
        return self.subclass_with_self("runner.app.job_result:JobResult", name="AsyncResult")

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 - Celery's name
        """Return the worker program of this app."""
        return self.subclass_with_self("runner.worker.job_worker:JobWorker", name="Worker", reverse="Worker")

    @property
    def secret_variables(self) -> frozenset[str]:
        """Return the variables of this worker with secrets of any job."""
        if self._variables_of is not self.catalog:
            self._variables = secret_variables(self.catalog.with_secrets())
            self._variables_of = self.catalog
        return self._variables

    @cached_property
    def own_secrets(self) -> tuple[str, ...]:
        """Return the runner's own secrets, which no run may show: URLs and passwords of its servers and its archive."""
        settings = self.runner_settings
        archive = settings.archive_url
        return (
            *secrets_of(settings.redis_url, hidden=settings.hidden_url),
            *broker_secrets(settings.broker_url, hidden=settings.hidden_broker_url),
            *(secrets_of(archive, hidden=settings.hidden_archive_url) if archive is not None else ()),
        )

    def open_ledger(self) -> Ledger:
        """Return a ledger with its own connection."""
        return open_ledger(self.runner_settings, in_worker=self.in_worker)

    def open_shared_ledger(self) -> Ledger:
        """Return a ledger for several threads, with only one idle connection."""
        ledger = Ledger(connect(self.runner_settings, sparing=True), self.runner_settings)
        return with_courier(ledger, LeavingCourier)

    def _get_backend(self) -> LedgerBackend:
        cls: type[LedgerBackend] = symbol_by_name("runner.attempt.backend:AttemptBackend")
        return cls(self, resolve_url(self.runner_settings), self.open_ledger, self.find_archived)

    def find_archived(self, run_id: str) -> Run | None:
        """Return an archived run; None if it is not archived or the archive cannot be reached."""
        return next(iter(self._behind.ask(lambda reader: reader.read([run_id])) or ()), None)

    @cached_property
    def _behind(self) -> Behind:
        return Behind(self.runner_settings)

    def job_task(self, name: str) -> DeclaredTask | None:
        """Return the task of a job; None if there is no valid job with that name."""
        return self._tasks.get(name) if name in self.job_names else None

    def put_jobs(self, jobs: Iterable[JobSpec]) -> None:
        """Add or replace jobs in a running process, without importing their code."""
        names = set()
        for job in jobs:
            task = make_task(self, job)
            task.loaded_at = time.monotonic()
            names.add(job.name)
        self.job_names |= names

    def remove_jobs(self, names: Collection[str]) -> None:
        """Remove the jobs with these names."""
        for name in names:
            self._tasks.pop(name, None)
        self.job_names -= set(names)

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        *positional: object,
        task_type: object = None,
        **options: Any,
    ) -> Any:
        """Submit a run of job ``name``; return its ``AsyncResult``.

        ``docs/how-to/celery-clients.md`` lists the options; each is supported, or refused by name.

        Raises:
            UnknownJob: ``name`` is not a valid job.
            InvalidParams: ``kwargs`` do not match its params, or there are positional arguments.
            UsageError: an option is not supported or has an invalid value.
            JobDisabled: the job has ``enabled: false``.
            Unavailable: Redis did not answer; the message names the run, which may have been recorded.
        """
        options |= dict(
            zip(("countdown", "eta", "task_id", "producer", "connection", "router"), positional, strict=False)
        )
        submission = self.submission_of(name, args, kwargs, options)
        try:
            submitted = self.backend.ledger.submit(submission)
        except Unavailable as error:
            error.run_id = submission.id
            raise error.naming_run() from error
        result = (options.get("result_cls") or self.AsyncResult)(submitted.id)
        parent = self.current_worker_task if options.get("add_to_parent", True) else None
        if parent is not None:
            parent.add_trail(result)
        return result

    def submission_of(
        self, name: str, args: Iterable[Any] | None, kwargs: dict[str, Any] | None, options: dict[str, Any]
    ) -> Submission:
        """Return the submission for a Celery call. Raises the same errors as :meth:`send_task`."""
        job = self.job_of(name)
        if args:
            raise InvalidParams(f"job {name} takes keyword arguments only", hint="pass params as kwargs")
        if kwargs is not None and not isinstance(kwargs, dict):
            raise InvalidParams(f"job {name}: kwargs are not a mapping of names to values")
        asked = {option: value for option, value in options.items() if option != "task_id"}
        run_id = options.get("task_id")
        return admit(
            job,
            kwargs or {},
            self.runner_settings,
            run_id=str(uuid4()) if run_id is None else run_id,
            origin=Origin(trigger="celery", submitted_by=f"pid{os.getpid()}@{os.uname().nodename}"),
            options=read_options(job, asked),
        )

    def job_of(self, name: str) -> JobSpec:
        """Return a job to submit, reloading its file if necessary: a client may live longer than a spec.

        Raises:
            UnknownJob: there is no valid job with that name.
        """
        with self._files_mutex:
            catalog = self._submitted_from or self.catalog
            if name not in catalog.jobs or time.monotonic() - self._looked_at > CATALOG_SECONDS:
                found = load_catalog(self.runner_settings)
                self._looked_at = time.monotonic()
                if not found.same_as(catalog):
                    self._take(found)
            return (self._submitted_from or self.catalog).get(name)

    def _take(self, found: Catalog) -> None:
        """Use another catalog for submissions from now on. A worker keeps its own catalog."""
        self._submitted_from = found
        if self.in_worker:
            return
        before, after = self.catalog.digests(), found.digests()
        self.catalog, self.job_names = found, frozenset(after)
        for name in before.keys() - after.keys():
            self.tasks.pop(name, None)
        for name, digest in after.items():
            if before.get(name) != digest:
                make_task(self, found.jobs[name])


def create_app(settings: Settings, catalog: Catalog) -> RunnerApp:
    """Return the Celery app of a project.

    No code of a job is imported, and no connection is opened, until a worker starts.
    """
    extend_path(settings)
    app = RunnerApp(
        settings.namespace,
        task_cls="runner.attempt.job_task:JobTask",
        set_as_current=True,
        broker_transport=f"runner.delivery.{'amqp.' if settings.on_amqp else ''}transport:Transport",
    )
    app.runner_settings = settings
    app.catalog = catalog
    app._files_mutex, app._looked_at = threading.Lock(), time.monotonic()
    app.job_names = frozenset(catalog.digests())
    app.conf.update(dict(settings.celery))
    app.conf.update(_owned(settings, catalog))
    for job in catalog.jobs.all():
        make_task(app, job)
    return app


def extend_path(settings: Settings) -> None:
    """Put ``python_path`` in front of ``sys.path``.

    This also moves folders that are there already: Celery's command line adds the working folder temporarily.
    """
    for folder in reversed(settings.python_path):
        sys.path.insert(0, str(folder))


def _of_redis(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": resolve_url(settings),
        "broker_transport_options": {
            "namespace": settings.namespace,
            **queue_key_options(settings.namespace),
            "health_check_interval": 25,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "fanout_prefix": True,
            "fanout_patterns": True,
        },
        "worker_consumer": "runner.worker.consumer:JobConsumer",
    }


def _of_rabbitmq(url: str) -> dict[str, Any]:
    from runner.delivery.amqp.transport import options_for  # start-up time: few projects have RabbitMQ

    addresses = read_brokers(url)
    return {
        "broker_url": ";".join(address.url for address in addresses),
        "broker_transport_options": options_for(addresses),
        "broker_heartbeat": 30,
        # The queue of a lost connection may be locked until RabbitMQ notices the loss.
        "broker_channel_error_retry": True,
        "worker_detect_quorum_queues": False,
        "worker_consumer": "runner.worker.amqp_consumer:AmqpConsumer",
    }


def _owned(settings: Settings, catalog: Catalog) -> dict[str, Any]:
    """Return the Celery settings that the runner owns (``settings.OWNED`` refuses them in YAML)."""
    namespace = settings.namespace
    exchange = Exchange(f"{namespace}.runs", type="direct")
    names = {*settings.worker.queues, *(job.queue for job in catalog.jobs.all())}
    return {
        **(_of_rabbitmq(settings.broker_url) if settings.broker_url is not None else _of_redis(settings)),
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
        "worker_enable_remote_control": settings.worker.remote_control != "none",
        "worker_concurrency": settings.worker.concurrency,
        "worker_prefetch_multiplier": 1,
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
