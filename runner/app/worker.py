"""Runs a worker in this process until it is told to stop."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Sequence

from celery import signals

from runner.app.factory import create_app
from runner.app.worker_log import use_json, use_text
from runner.settings import Settings
from runner.spec.catalog import Catalog


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
    """Run a worker; return its exit code, or None if it shall start anew (``reload_code``).

    Args:
        settings: of the project.
        catalog: its sound jobs become tasks; the caller warns of the problems.
        concurrency: how many runs at once; ``worker.concurrency`` by default.
        queues: to take from; ``worker.queues`` by default.
        loglevel: of the log, which goes to stderr.
        pool: one of Celery's.
        log_form: text, json (an object a line) or plain (what runs write as it is, the rest as text).
        reload_code: end, to start anew, when Python files of ``python_path`` change.
        hostname: Celery's node name, ``celery-PID@HOST`` by default.
    """
    logging.captureWarnings(True)
    app = create_app(settings, catalog)
    app.log_form = log_form
    app.reload_code = reload_code
    shape = use_json if log_form == "json" else use_text
    signals.after_setup_logger.connect(shape, weak=False)
    signals.after_setup_task_logger.connect(shape, weak=False)
    worker = app.Worker(
        # Two workers on one host must not share a name: it is what the ledger knows them by.
        hostname=hostname or f"celery-{os.getpid()}@{socket.gethostname()}",
        pool_cls=pool,
        concurrency=concurrency or settings.worker.concurrency,
        queues=list(queues) or list(settings.worker.queues),
        loglevel=loglevel,
        logfile=None,
        without_gossip=True,
        without_mingle=True,
        optimization="fair",
        quiet=True,
    )
    worker.start()
    if app.restart:
        return None
    return int(worker.exitcode or 0) if worker.exitcode is not None else 0


def main() -> None:  # pragma: no cover - `python -m runner.app.worker` is for debugging
    """Run a worker of the project found from here."""
    from runner.settings import load_settings
    from runner.spec.catalog import load_catalog

    settings = load_settings()
    sys.exit(run_worker(settings, load_catalog(settings)))


if __name__ == "__main__":
    main()
