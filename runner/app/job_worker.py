"""The worker program: Celery's own, that prepares the project before it takes work.

Celery's signals would be the usual place for this, but they swallow what a receiver raises.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from celery import signals
from celery.apps.worker import Worker
from celery.utils.log import get_logger
from celery.worker import state
from celery.worker.control import Panel
from kombu import Exchange, Queue

from runner.app.capture.child import Capture
from runner.app.capture.collector import Collector
from runner.app.capture.echo import Echo
from runner.app.job_pool import JobPool
from runner.app.project_app import project_app_current
from runner.app.registry import use_child_tasks
from runner.app.secret_values import complaints
from runner.app.target import TargetError, load_target
from runner.delivery.transport import INBOX, MARKED_ARGUMENT
from runner.errors import InvalidSettings, Unavailable
from runner.ledger.health.server import losing_settings
from runner.model.job import JobSpec
from runner.process_group import guard
from runner.settings import Settings
from runner.settings.redis_url import mask

log = get_logger(__name__)

SAFE_COMMANDS = frozenset({"ping", "stats", "active", "reserved", "registered", "active_queues", "query_task"})
"""Remote control that only looks (``worker.remote_control: safe``)."""


class JobWorker(Worker):
    """A worker that runs jobs."""

    pool_cls: Any

    def on_init_blueprint(self) -> None:
        """Prepare: nothing is connected yet, no child is forked.

        Raises:
            InvalidSettings: the pool cannot honour what a job declares, or ``setup`` fails.
        """
        super().on_init_blueprint()
        app, settings = self.app, self.app.runner_settings
        app.worker_name = self.hostname
        # What a job starts finds the project as its worker did.
        os.environ["RUNNER_PROJECT"] = str(settings.project)
        app.pool_name = str(self.pool_cls.__module__).rpartition(".")[2]
        refuse_pool(app.pool_name, app.catalog.jobs)
        if settings.worker.remote_control == "safe":
            restrict_commands()
        self._prepare_queues()
        with project_app_current(app):
            run_setup(settings)
        for name in sorted(app.job_names):
            broken = app.tasks[name].prepare()
            if broken:
                log.error("job %s is quarantined, its runs end in FAILURE/import_error: %s", name, broken)
            for complaint in complaints(app.tasks[name].job, settings.project, os.environ):
                log.warning("job %s: %s", name, complaint)
        if app.pool_name == "prefork":
            self.pool_cls = JobPool
            app.collector = Collector(app.open_ledger, settings.limits, Echo(app.log_form))
            app.collector.start()
        signals.worker_process_init.connect(partial(prepare_child, app), weak=False)
        warn_of_losses(app)

    def _prepare_queues(self) -> None:
        app, namespace = self.app, self.app.runner_settings.namespace
        for queue in app.amqp.queues.consume_from.values():
            # `-Q new` makes a queue that the settings know nothing of.
            queue.queue_arguments = {**(queue.queue_arguments or {}), MARKED_ARGUMENT: True}
        app.run_queues = sorted(app.amqp.queues.consume_from)
        app.amqp.queues.select_add(
            Queue(
                INBOX,
                Exchange(f"{namespace}.inbox"),
                routing_key=INBOX,
                queue_arguments={MARKED_ARGUMENT: True},
            )
        )
        app.conf.broker_transport_options = {
            **app.conf.broker_transport_options,
            "claims": app.claims,
            "worker_name": self.hostname,
            "is_running": is_running,
        }

    def stats(self) -> dict[str, Any]:
        """Return what ``inspect stats`` and Flower show: no password, and no objects that only this process has."""
        told: dict[str, Any] = super().stats()
        broker = told.get("broker")
        if isinstance(broker, dict):
            options = broker.get("transport_options") or {}
            plain = {name: value for name, value in options.items() if isinstance(value, str | int | float)}
            # Kombu has the whole URL for a host where the transport is not one of its own.
            shown = {"hostname": mask(str(broker.get("hostname"))), "alternates": [], "transport_options": plain}
            told["broker"] = {**broker, **shown}
        return told


def prepare_child(app: Any, **_: Any) -> None:
    """Give a pool child a process group of its own, that ends with it, and a pipe for what its runs write.

    What a job starts can be ended with it, and a terminal's Ctrl-C is the parent's affair.
    """
    os.setpgid(0, 0)
    guard(os.getpgrp())
    use_child_tasks(app)
    if app.collector is not None:
        app.capture = Capture(app.collector.control)


def warn_of_losses(app: Any) -> None:
    """Log which settings of the server lose data. If it is away, the worker waits for it, and this is left out."""
    ledger = app.open_ledger()
    try:
        for finding in losing_settings(ledger):
            log.warning("%s: %s; %s; runner doctor tells more", finding.name, finding.what, finding.remedy)
    except Unavailable as error:
        log.debug("settings of the server are not looked at: %s", error)
    finally:
        ledger.close()


def is_running(token: str) -> bool:
    """Whether a claim's run is in this worker's pool."""
    return any(getattr(request, "token", None) == token for request in tuple(state.active_requests))


def restrict_commands() -> None:
    """Leave only the remote control commands that look and do not touch."""

    def refuse(_state: Any, **_: Any) -> dict[str, str]:
        return {"error": "refused: worker.remote_control is safe; revoke and terminate with runner revoke"}

    for name in set(Panel.data) - SAFE_COMMANDS:
        Panel.data[name] = refuse


def refuse_pool(pool: str, jobs: Mapping[str, JobSpec]) -> None:
    """Refuse to start with a pool that cannot honour what a job declares.

    Raises:
        InvalidSettings: naming the jobs and the options.
    """
    if pool == "prefork":
        return
    needing = {job.name: job.needs_prefork for job in jobs.values() if job.needs_prefork}
    if needing:
        named = ", ".join(f"{name} ({option})" for name, option in sorted(needing.items()))
        raise InvalidSettings(
            f"the {pool} pool cannot honour timeout, soft_timeout, env and secrets, which these jobs declare: {named}",
            hint="use the prefork pool (-P prefork)",
        )


def run_setup(settings: Settings) -> None:
    """Call ``setup`` of runner.yaml, before any job is imported.

    Raises:
        InvalidSettings: it cannot be imported, or fails.
    """
    if settings.setup is None:
        return
    try:
        load_target(settings.setup)()
    except TargetError as error:
        raise InvalidSettings(f"setup: {error}", hint="correct setup in runner.yaml") from error
    except Exception as error:
        raise InvalidSettings(
            f"setup: {settings.setup} raised {type(error).__name__}: {error}", hint="correct it, then start again"
        ) from error
