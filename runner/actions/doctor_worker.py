"""Check only the workers on this host or in this container, fast enough for a health check."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from runner.host.process import started_at
from runner.ledger.fleet import SILENT_SECONDS, Local, workers_of_host
from runner.ledger.health.finding import Finding, Report, ok, problem
from runner.model.plural import things

if TYPE_CHECKING:
    from runner.actions.project import Project


def examine_workers(project: Project) -> Report:
    """Return a finding for every worker of the project on this host or in this container; a problem if there is none.

    It sends one command to Redis, and checks nothing else. A draining worker is healthy.

    Raises:
        Unavailable: Redis cannot be reached, so the state of the worker is unknown.
    """
    host = socket.gethostname()
    recorded = workers_of_host(project.ledger, host)
    alive = [local for local in recorded if _lives_here(local)]
    return Report(tuple(map(_finding, alive)) or (_none(host, recorded),))


def _lives_here(local: Local) -> bool:
    # Another container may have the same host name, and a process with the same id.
    started = started_at(local.worker.pid)
    return started is not None and local.process in ("", started)


def _finding(local: Local) -> Finding:
    worker = local.worker
    if local.silent > SILENT_SECONDS:
        return problem(
            "worker",
            f"{worker.name} (process {worker.pid}) has been silent for {local.silent:.0f} s",
            "see its log; it hangs, or cannot reach Redis",
        )
    doing = f"{worker.running} of {things(worker.concurrency, 'place')} taken"
    return ok("worker", f"{worker.name} (process {worker.pid}) is {worker.state}, {doing}")


def _none(host: str, recorded: list[Local]) -> Finding:
    if not recorded:
        return problem("worker", f"no worker of this project runs on {host}", "start one: runner worker")
    latest = min(recorded, key=lambda local: local.silent)
    return problem(
        "worker",
        f"no worker of this project runs here; the last one on {host} was {latest.worker.name}, "
        f"heard of {latest.silent:.0f} s ago",
        "see its log, or start one: runner worker",
    )
