"""Tasks of Celery: ``plain`` as it comes, ``late`` with messages acknowledged after their runs, as the runner does."""

from __future__ import annotations

import sys
from typing import Any

from celery import Celery
from celery.signals import worker_ready

from benchmarks.peers import url_of


def make(name: str, broker: str | None = None, **settings: Any) -> Celery:
    """Return an app with the tasks; ``broker`` is Redis unless it is given."""
    url = url_of("celery")
    app = Celery(name, broker=broker or url, backend=url, set_as_current=False)
    app.conf.update(task_default_queue=name, broker_connection_retry_on_startup=True, **settings)

    @app.task(name="add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="noop", shared=False)
    def noop() -> int:
        return 1

    return app


plain = make("plain")
late = make("late", task_acks_late=True)


@worker_ready.connect
def tell(**_: Any) -> None:
    """Tell whoever waits for the worker; its log is quiet."""
    print("ready", file=sys.stderr, flush=True)
