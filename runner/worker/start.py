"""Runs a worker in this process until it is asked to stop."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from functools import partial

from celery import signals
from celery.utils.nodenames import default_nodename, host_format

from runner.app.factory import create_app
from runner.app.worker_log import use_json, use_text
from runner.attempt.state import attempt_number
from runner.catalog.catalog import Catalog, load_catalog
from runner.settings import Settings, load_settings


def run_worker(
    settings: Settings,
    catalog: Catalog,
    *,
    concurrency: int | None = None,
    queues: Sequence[str] = (),
    loglevel: str = "INFO",
    pool: str = "prefork",
    hostname: str | None = None,
    log_form: str = "text",
    reload_code: bool = False,
) -> int | None:
    """Run a worker; return its exit code, or None if it shall be restarted (``reload_code``).

    Args:
        settings: the settings of the project.
        catalog: the catalog, whose valid jobs become tasks; the caller warns about its problems.
        concurrency: the number of simultaneous runs; ``worker.concurrency`` by default.
        queues: the queues to consume; ``worker.queues`` by default.
        loglevel: the level of the log, which goes to stderr.
        pool: the name of one of Celery's pools.
        log_form: text, json (one object per line), or plain (the output of runs unchanged, the rest as text).
        reload_code: whether to end for a restart when Python files of ``python_path`` change.
        hostname: Celery's node name, as for its option ``-n``; a unique name by default.
    """
    logging.captureWarnings(True)
    app = create_app(settings, catalog)
    shape = partial(use_json if log_form == "json" else use_text, attempt_of=attempt_number)
    signals.after_setup_logger.connect(shape, weak=False)
    signals.after_setup_task_logger.connect(shape, weak=False)
    worker = app.Worker(
        hostname=host_format(default_nodename(hostname)) if hostname else unique_name(),
        pool_cls=pool,
        concurrency=concurrency or settings.worker.concurrency,
        queues=list(queues) or list(settings.worker.queues),
        loglevel=loglevel,
        logfile=None,
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
        quiet=True,
        log_form=log_form,
        reload_code=reload_code,
    )
    worker.start()
    if worker.runner_state.restart:
        return None
    return int(worker.exitcode or 0) if worker.exitcode is not None else 0


def unique_name() -> str:
    """Return a unique node name, by which the ledger identifies a worker.

    The host and the process id are not enough: in two containers with the same host name, both may be process 1.
    """
    return f"celery-{os.getpid()}-{secrets.token_hex(3)}@{socket.gethostname()}"


def main() -> None:  # pragma: no cover - `python -m runner.worker.start` is for debugging
    """Run a worker of the project in this folder."""
    settings = load_settings()
    sys.exit(run_worker(settings, load_catalog(settings)))


if __name__ == "__main__":
    main()
