"""The worker program: Celery's worker, which also prepares the project before it takes runs.

Celery's signals would be the usual place for this, but they swallow exceptions of receivers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from celery.apps.worker import Worker
from celery.utils.log import get_logger
from kombu import Exchange, Queue

from runner.app.before_runs import worker_complaints
from runner.app.celery_types import JsonObject
from runner.app.factory import RunnerApp
from runner.app.project_app import project_app_current
from runner.app.target import LONGEST_WORDS, TargetError, load_target
from runner.archive.packages import require_packages
from runner.attempt.database_connections import close_before_forks
from runner.attempt.forks import ending_forks, own_multiprocessing, reset_signals_in_forks
from runner.attempt.inherited import Generators, Shared
from runner.attempt.state import SharedState
from runner.delivery.claims import Claims
from runner.delivery.inbox_watch import InboxWatch
from runner.delivery.transport import INBOX_ARGUMENT
from runner.errors import InvalidSettings, Unavailable
from runner.host.places import check_for_children
from runner.ledger.health.server import losing_settings
from runner.ledger.inbox import INBOX
from runner.ledger.permissions import refuse_missing_permissions
from runner.model.job import JobSpec
from runner.model.storable import names_of, short_text
from runner.settings import Settings
from runner.settings.discovery import project_variables
from runner.settings.options import Recycle
from runner.settings.redis_url import mask
from runner.worker.archiving import Archiving
from runner.worker.collector import Collector
from runner.worker.echo import Echo
from runner.worker.plain_control import PlainControl
from runner.worker.pools import pool_for, pool_of
from runner.worker.reload import Reload
from runner.worker.remote_control import set_commands
from runner.worker.state import WorkerState
from runner.worker.steps import Announce, Supervise

log = get_logger(__name__)


class JobWorker(Worker):
    """A worker that runs jobs."""

    app: RunnerApp
    pool_cls: Any
    runner_state: WorkerState
    """The state of this worker; its bootsteps get it from ``state_of``."""

    def on_before_init(self, *, log_form: str = "text", reload_code: bool = False, **options: object) -> None:
        """Record the log format, and whether code is reloaded."""
        self._log_form, self._reload_code = log_form, reload_code
        super().on_before_init(**options)

    def on_init_blueprint(self) -> None:
        """Prepare the project, before connecting and forking.

        Raises:
            InvalidSettings: the pool does not support an option of a job, or ``setup`` fails.
        """
        super().on_init_blueprint()
        app, settings = self.app, self.app.runner_settings
        app.in_worker = True
        app.steps["consumer"].update((Supervise, Reload, Archiving, PlainControl, Announce))
        # Processes that a job starts find the same project.
        os.environ |= project_variables(settings.project, found=settings.found)
        pool = str(self.pool_cls.__module__).rpartition(".")[2]
        pool_of(pool)
        refuse_pool(pool, app.catalog.jobs.all(), settings)
        if pool == "prefork":
            check_for_children()
        set_commands(settings.worker.remote_control)
        if settings.archive_url is not None and settings.worker.archive:
            require_packages(settings.archive_url)
        refuse_permissions(app)
        state = self.runner_state = self._make_state(pool)
        self.pool_cls = pool_for(state)
        self._prepare_queues(state)
        own_multiprocessing("MainProcess")
        shared = Shared()
        with ending_forks(), project_app_current(app):
            run_setup(settings)
        if pool == "prefork":
            close_before_forks()
        shared.warn("setup")
        self._import_jobs(shared)
        if pool == "prefork":
            close_before_forks()
            state.generators = Generators()
            state.collector = Collector(app.open_ledger, settings.limits, Echo(state.log_form))
        else:
            # Jobs run in this process and fork from it.
            reset_signals_in_forks()
        warn_of_losses(app)
        warn_of_namesake(app, self.hostname)

    def _make_state(self, pool: str) -> WorkerState:
        app, settings, name = self.app, self.app.runner_settings, str(self.hostname)
        ledger = app.open_shared_ledger()
        return WorkerState(
            SharedState(app, name, Claims(lambda: ledger, settings.worker.lease)),
            ledger,
            pool,
            queues=sorted(app.amqp.queues.consume_from),
            inbox_watch=InboxWatch(ledger, name),
            log_form=self._log_form,
            reload_code=self._reload_code,
        )

    def _import_jobs(self, shared: Shared) -> None:
        app = self.app
        for name in sorted(app.job_names):
            task = app.tasks[name]
            broken = task.prepare()
            shared.warn(f"the import of job {name}")
            if broken:
                log.error("job %s is quarantined, its runs end in FAILURE/import_error: %s", name, broken)
            for complaint in worker_complaints(task.job, app.runner_settings, os.environ):
                log.warning("job %s: %s", name, complaint)

    def _prepare_queues(self, state: WorkerState) -> None:
        app, settings = self.app, self.app.runner_settings
        # Takers take the runs. Messages of plain clients are received here.
        if settings.on_amqp:
            from runner.delivery.amqp.inbox import inbox as rabbitmq_inbox  # start-up time: few projects have RabbitMQ

            app.amqp.queues.select_add(rabbitmq_inbox())
            app.amqp.queues.select([INBOX])
            return
        inbox = Queue(
            INBOX,
            Exchange(f"{settings.namespace}.inbox"),
            routing_key=INBOX,
            queue_arguments={INBOX_ARGUMENT: True},
        )
        app.amqp.queues.select_add(inbox)
        app.amqp.queues.select([INBOX])
        app.conf.broker_transport_options = {
            **app.conf.broker_transport_options,
            "claims": state.shared.claims,
            "worker_name": self.hostname,
            "ledger": state.ledger,
            "inbox_watch": state.inbox_watch,
        }

    def stats(self) -> JsonObject:
        """Return the answer to ``inspect stats`` and Flower, without passwords and internal objects."""
        answer: JsonObject = super().stats()
        broker = answer.get("broker")
        if isinstance(broker, dict):
            options = broker.get("transport_options") or {}
            plain = {name: value for name, value in options.items() if isinstance(value, str | int | float)}
            # For a transport that is not its own, Kombu uses the whole URL as the host.
            shown = {"hostname": mask(str(broker.get("hostname"))), "alternates": [], "transport_options": plain}
            answer["broker"] = {**broker, **shown}
        return answer


def warn_of_losses(app: RunnerApp) -> None:
    """Log the server settings that can lose data. Skipped while the server is unreachable."""
    ledger = app.open_ledger()
    try:
        for finding in losing_settings(ledger):
            log.warning("%s: %s; %s; runner doctor tells more", finding.name, finding.what, finding.remedy)
    except Unavailable as error:
        log.debug("settings of the server are not looked at: %s", error)
    finally:
        ledger.close()


def refuse_permissions(app: RunnerApp) -> None:
    """Raise an error if the user of Redis or RabbitMQ lacks a permission. An unreachable server is waited for.

    Raises:
        InvalidSettings: with all that are missing.
    """
    ledger = app.open_ledger()
    try:
        refuse_missing_permissions(ledger)
        if app.runner_settings.on_amqp:
            from runner.delivery.amqp import examine  # start-up time: it imports py-amqp

            examine.refuse_missing_permissions(app.runner_settings, sorted(app.amqp.queues.consume_from))
    except Unavailable as error:
        log.debug("permissions are not looked at: %s", error)
    finally:
        ledger.close()


def warn_of_namesake(app: RunnerApp, name: str) -> None:
    """Log that another worker has this one's name (``-n``): lists show one of them only."""
    ledger = app.open_ledger()
    try:
        for worker in ledger.workers():
            if worker.name == name:
                where = f"process {worker.pid} on {worker.host}"
                log.warning(
                    "another worker is named %s (%s), or was until a moment ago: give each its own name",
                    name,
                    where,
                )
    except Unavailable as error:
        log.debug("names of workers are not looked at: %s", error)
    finally:
        ledger.close()


def refuse_pool(pool: str, jobs: Iterable[JobSpec], settings: Settings) -> None:
    """Refuse to start with a pool that cannot honor what a job or ``runner.yaml`` declares.

    Raises:
        InvalidSettings: naming the jobs and the options.
    """
    if pool == "prefork":
        return
    if settings.worker.recycle != Recycle():
        raise InvalidSettings(
            f"the {pool} pool cannot honor worker.recycle: it has no processes of its own",
            hint="use the prefork pool (-P prefork), or remove worker.recycle",
        )
    needing = {job.name: job.needs_prefork for job in jobs if job.needs_prefork}
    if needing:
        named = ", ".join(f"{name} ({option})" for name, option in sorted(needing.items()))
        raise InvalidSettings(
            f"the {pool} pool cannot honor timeout, soft_timeout, memory, env, env_file, secrets, and isolation, "
            f"which these jobs declare: {named}",
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
        text = f"{names_of(type(error))[1]}: {short_text(error, LONGEST_WORDS, say=str)}"
        raise InvalidSettings(f"setup: {settings.setup} raised {text}", hint="correct it, then start again") from error
