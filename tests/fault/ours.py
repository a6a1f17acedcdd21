"""The runner under attack."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.delivery.courier import open_ledger
from runner.ledger.submission import Submission
from runner.model.job import JobSpec
from runner.settings import load_settings
from tests.fault.flow_jobs import flow_jobs
from tests.fault.forgery import CANARY_MODULE
from tests.fault.server import RedisServer
from tests.fault.system import Order, Report, System, Worker
from tests.support.processes import takers_of, templates_of
from tests.support.project import COMMAND, clean_environment, write_project
from tests.support.rabbit import chosen_broker, shared_node, virtual_host

LIVE = ("PENDING", "STARTED", "RETRY")
NAMESPACE = "fault"


def jobs(witness: Path) -> dict[str, Any]:
    """Return the jobs of the project under attack."""
    work = {
        "task": "work:run",
        "kwargs": {"witness": str(witness)},
        "params": {"kind": {"type": "string", "required": True}, "seconds": {"type": "number", "default": 0}},
        "retry": {"max_retries": 3, "delay": "200ms", "jitter": False, "for": ["ConnectionError"]},
        "retention": {"runs": 1_000_000},
    }
    return {
        "work": work,
        "once": {**work, "delivery": "at_most_once"},
        "timed": {**work, "timeout": "5500ms"},
        **flow_jobs(witness),
        # Its module declares a task that no job names.
        "neighbor": {"task": "canary_tasks:run", "kwargs": {"witness": str(witness)}, "params": {"kind": {}}},
        "canary": {"task": "work:canary", "kwargs": {"witness": str(witness)}, "enabled": False},
    }


class RunnerWorker(Worker):
    """``runner worker``: its takers are forked from its template."""

    @property
    def children(self) -> list[int]:
        """The ids of its takers."""
        return takers_of(self.pid)

    @property
    def helpers(self) -> list[int]:
        """The id of its template."""
        return templates_of(self.pid)


class RunnerSystem(System):
    """Real ``runner worker`` processes, and the ledger as a submitter."""

    name = "runner"
    ready_line = "runner worker ready"

    def __init__(
        self,
        folder: Path,
        server: RedisServer,
        worker_port: int,
        *,
        lease: float = 3.0,
        grace: float = 30.0,
        broker_url: str | None = None,
    ) -> None:
        super().__init__(folder, server, worker_port)
        self.lease = lease
        self.environment: dict[str, str] = {}
        self._ended = ExitStack()
        if broker_url is None and chosen_broker() == "rabbitmq":
            broker_url = self._ended.enter_context(virtual_host(shared_node())).url
        settings = {
            "worker": {"lease": f"{lease:g}s", "shutdown_grace": f"{grace:g}s"},
            "retention": {"runs": 1_000_000},
            **({"broker_url": broker_url} if broker_url else {}),
        }
        work, steps = (Path(__file__).with_name(f"{name}.py").read_text() for name in ("work", "flow_steps"))
        url = f"redis://127.0.0.1:{worker_port}/0"
        self.project = write_project(
            folder / "project",
            url,
            jobs(self.witness),
            {
                "work.py": work,
                "flow_steps.py": steps,
                "canary_tasks.py": CANARY_MODULE.format(witness=str(self.witness)),
            },
            settings,
            NAMESPACE,
        )
        self.reach(server)
        self._jobs = self.project.catalog.jobs

    def replicated(self) -> None:
        """Have submitters and workers wait for replicas (``durability: replicated``)."""
        self.environment["RUNNER_DURABILITY"] = "replicated"
        self.reach(self.server)

    def reach(self, server: RedisServer) -> None:
        """Submit to this server from now on, and ask it."""
        # Straight to the server: what is reported does not pass through what is attacked.
        self.server = server
        environment = {**self.environment, "RUNNER_REDIS_URL": server.url}
        self.ledger = open_ledger(load_settings(self.project.path, environ=environment))

    def job(self, name: str) -> JobSpec:
        """Return a job of the project."""
        return self._jobs[name]

    def submit(self, order: Order, *, now: float | None = None, digest: str | None = None) -> None:
        """Submit through the ledger, as ``runner submit`` does.

        Args:
            order: the run.
            now: when its delay begins.
            digest: of another version of the job.
        """
        job = self._jobs[order.job]
        if digest is not None:
            job = replace(job, digest=digest)
        self.ledger.submit(
            Submission(
                id=order.id,
                job=job,
                params={"kind": order.kind, "seconds": order.seconds},
                queue=job.queue,
                priority=job.priority,
                trigger="api",
                eta=(now or time.time()) + order.delay if order.delay else None,
            )
        )

    def make_worker(self, concurrency: int) -> Worker:
        """Start ``runner worker``."""
        command = [*COMMAND, "worker", "-c", str(concurrency)]
        return RunnerWorker(command, cwd=self.project.path, env=clean_environment(self.environment))

    def close(self) -> None:
        """End the workers, and remove what was made at the broker."""
        super().close()
        self._ended.close()

    def unfinished(self) -> int:
        """Count the runs that are in no final state."""
        return sum(int(self.ledger.client.zcard(f"{NAMESPACE}:state:{state}")) for state in LIVE)

    def report(self) -> Report:
        """Read all runs, and every message that there is."""
        ids = list(self.accepted)
        found = [run for at in range(0, len(ids), 500) for run in self.ledger.read(ids[at : at + 500])]
        client = self.server.client()
        messages = live_messages(client, NAMESPACE)
        return Report(
            states={run.id: str(run.state) for run in found},
            poisoned=frozenset(run.id for run in found if run.reason == "poisoned"),
            worker_lost=frozenset(run.id for run in found if run.reason == "worker_lost"),
            losses={run.id: run.losses for run in found if run.losses},
            messages=frozenset(messages),
            leftovers=sum(messages.values())
            + int(client.zcard(f"{NAMESPACE}:leases"))
            + int(client.hlen(f"{NAMESPACE}:terminating")),
        )


def live_messages(client: Any, namespace: str) -> Counter[str]:
    """Count the live messages of each run: in a queue, in the delayed set, or under a claim."""
    counted: Counter[str] = Counter()
    for key in client.scan_iter(f"{namespace}:queue:*", count=1000):
        counted.update(_id_of(raw) for raw in client.lrange(key, 0, -1))
    counted.update(client.zrange(f"{namespace}:delayed", 0, -1))
    for claim in client.hvals(f"{namespace}:claims"):
        counted[json.loads(claim.partition("\n")[0]).get("id", "?")] += 1
    return counted


def _id_of(raw: str) -> str:
    try:
        return str(json.loads(raw)["headers"]["id"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return "?"
