"""Find what the schedules of a project still need before they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner import embedded
from runner._dataclass import dataclass
from runner.actions.systemctl import is_running
from runner.errors import Unavailable
from runner.settings.redis_url import EMBEDDED

if TYPE_CHECKING:
    from runner.actions.project import Project


@dataclass(frozen=True, slots=True)
class Missing:
    """The queues of enabled jobs that no worker consumes; None if unknown.

    ``systemd``: whether systemd runs this host, so that it can run the worker.
    """

    queues: Sequence[str] | None
    systemd: bool

    def offers(self) -> list[tuple[tuple[str, ...], str]]:
        """Return commands that start a worker, as arguments of ``runner``, with descriptions."""
        if self.queues is not None and not self.queues:
            return []
        now = (("up", "-d"), "starts one now, until the host stops")
        if self.systemd:
            return [(("up", "--systemd"), "starts one now and whenever the host starts, as services of systemd"), now]
        return [now, (("cron", "install", "--worker"), "has cron start one whenever the host starts (@reboot)")]


def missing(project: Project) -> Missing:
    """Return the missing parts, without starting an embedded server: if none is running, there is no worker either."""
    jobs = [job for job in project.catalog.jobs.values() if job.enabled]
    wanted = sorted({job.queue for job in jobs if job.schedule} or {job.queue for job in jobs})
    if project.settings.redis_url == EMBEDDED and embedded.running(project.settings) is None:
        return Missing(wanted, is_running())
    from runner.ledger.ledger import Ledger  # start-up time: where no server runs, no Redis client is needed

    try:
        ledger = Ledger.open(project.settings, start=False)
        try:
            served = ledger.consumed_queues()
        finally:
            ledger.close()
    except Unavailable:
        return Missing(None, is_running())
    return Missing([queue for queue in wanted if queue not in served], is_running())
