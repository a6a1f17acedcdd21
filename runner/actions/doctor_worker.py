"""Examine the workers of this host, or of this container, alone: fast enough for a health check."""

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
    """Return a finding for each worker of the project that lives here, or one that says that none does.

    One command to Redis, and nothing else is examined. A worker that drains counts as healthy.

    Raises:
        Unavailable: Redis cannot be reached. That says nothing about the worker.
    """
    host = socket.gethostname()
    recorded = workers_of_host(project.ledger, host)
    alive = [local for local in recorded if _lives_here(local)]
    return Report(tuple(map(_finding, alive)) or (_none(host, recorded),))


def _lives_here(local: Local) -> bool:
    # Another container may have the same host name, and a process of this number.
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
