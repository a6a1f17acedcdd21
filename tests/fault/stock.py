"""Stock Celery under the same attacks, with the settings that its documentation recommends for not losing work.

``acks_late`` and ``reject_on_worker_lost`` (Celery's "Tasks" page), a short ``visibility_timeout``, swept as often as
the transport allows (Kombu's page on Redis), results kept and ``track_started``, connection retries without end.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.fault.server import RedisServer
from tests.fault.system import Order, Report, System, Worker
from tests.support.project import clean_environment

APP = """
import os
from celery import Celery
from work import perform

app = Celery("stock", broker=os.environ["STOCK_URL"], backend=os.environ["STOCK_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_track_started=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": float(os.environ["STOCK_LEASE"]),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
        "socket_timeout": 10,
        "socket_keepalive": True,
    },
    redis_socket_timeout=10,
    result_expires=None,
    worker_soft_shutdown_timeout=0,
)

@app.task(bind=True, name="work", autoretry_for=(ConnectionError,), max_retries=3, default_retry_delay=0.2)
def work(self, kind, seconds):
    return perform(os.environ["STOCK_WITNESS"], self.request.id, self.request.retries, kind, seconds)
"""

FINAL = ("SUCCESS", "FAILURE", "REVOKED")


class StockSystem(System):
    """``celery worker`` processes, and ``apply_async``."""

    name = "celery"
    ready_line = r" ready\."

    def __init__(self, folder: Path, server: RedisServer, worker_port: int, *, lease: float = 3.0) -> None:
        super().__init__(folder, server, worker_port)
        self.lease = lease
        self._project = folder / "stock"
        self._project.mkdir(parents=True)
        (self._project / "stock_app.py").write_text(APP)
        (self._project / "work.py").write_text(Path(__file__).with_name("work.py").read_text())
        self._made = 0
        self._open: set[str] = set()
        self.reach(server)

    def reach(self, server: RedisServer) -> None:
        """Submit to this server from now on, and ask it."""
        self.server = server
        self._client = server.client()
        self._app = self._make_app()

    def _make_app(self) -> Any:
        from celery import Celery

        app = Celery("submitter", broker=self.server.url, backend=self.server.url, set_as_current=False)
        app.conf.update(
            broker_transport_options={"socket_timeout": 5},
            redis_socket_timeout=5,
            task_publish_retry_policy={"max_retries": 1},
        )
        return app

    def _accept(self, order: Order, patience: float) -> None:
        super()._accept(order, patience)
        self._open.add(order.id)

    def submit(self, order: Order) -> None:
        """``apply_async`` with an id of our own."""
        self._app.send_task(
            "work",
            kwargs={"kind": order.kind, "seconds": order.seconds},
            task_id=order.id,
            countdown=order.delay or None,
        )

    def make_worker(self, concurrency: int) -> Worker:
        """Start ``celery worker``."""
        self._made += 1
        command = [sys.executable, "-m", "celery", "-A", "stock_app", "worker", "-c", str(concurrency), "-l", "INFO"]
        command += ["-n", f"w{self._made}@%h", "--without-gossip", "--without-mingle", "-O", "fair"]
        environment = clean_environment(
            {
                "STOCK_URL": f"redis://127.0.0.1:{self.worker_port}/0",
                "STOCK_LEASE": str(self.lease),
                "STOCK_WITNESS": str(self.witness),
            }
        )
        return Worker(command, cwd=self._project, env=environment)

    def _states(self, ids: Iterable[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        wanted = list(ids)
        for at in range(0, len(wanted), 1000):
            part = wanted[at : at + 1000]
            for run_id, meta in zip(
                part, self._client.mget([f"celery-task-meta-{run_id}" for run_id in part]), strict=True
            ):
                if meta:
                    found[run_id] = json.loads(meta)["status"]
        return found

    def unfinished(self) -> int:
        """Ask for the results of those that had none yet."""
        self._open -= {run_id for run_id, state in self._states(self._open).items() if state in FINAL}
        return len(self._open)

    def report(self) -> Report:
        """Read all results, and every message that there is."""
        messages: set[str] = set()
        count = 0
        for key in self._client.scan_iter("celery*"):
            if self._client.type(key) == "list":
                for raw in self._client.lrange(key, 0, -1):
                    messages.add(json.loads(raw)["headers"]["id"])
                    count += 1
        for raw in self._client.hvals("unacked"):
            messages.add(json.loads(raw)[0]["headers"]["id"])
            count += 1
        return Report(states=self._states(self.accepted), messages=frozenset(messages), leftovers=count)

    def close(self) -> None:
        """End the workers, and the submitter's connections."""
        super().close()
        self._app.close()
        self._client.close()
