"""Check a project: its settings and jobs, its servers, its workers, and whether ledger and queues agree."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from runner import embedded
from runner._version import __version__
from runner.actions.broker import check_broker, check_hints
from runner.actions.doctor_archive import check_archive
from runner.actions.metrics import deadlines
from runner.actions.tick import Engine
from runner.app.before_runs import host_complaints
from runner.embedded.place import Place
from runner.errors import InvalidSettings, RunnerError, Unavailable
from runner.ledger.health.finding import EXAMPLES, Finding, Level, Report, named, ok, problem, warning
from runner.ledger.health.fleet import (
    archive_dead_letters,
    check_dead_letters,
    check_hooks,
    check_pauses,
    check_plain_queues,
    check_queues,
    check_served,
    check_workers,
)
from runner.ledger.health.reconcile import reconcile
from runner.ledger.health.retention import check_retention
from runner.ledger.health.server import check_server
from runner.ledger.health.successes import check_successes
from runner.ledger.permissions import missing_permissions, remedy
from runner.model.plural import things
from runner.model.run import to_timestamp
from runner.settings.redis_url import EMBEDDED, mask

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.settings import Settings

UNSUBMITTED_SECONDS = 150
"""Seconds after which a due slot should have been submitted; a tick comes every minute."""
LITTLE_SPACE = 256 * 1024**2
"""Free bytes on the embedded server's disk below which the doctor warns."""


def examine(project: Project, *, repair: bool = False, quick: bool = False) -> Report:
    """Check a project and return all findings. A server that cannot be reached is a finding, not an error.

    Args:
        project: the project to check.
        repair: first repair what can be repaired; the report names it.
        quick: leave out the checks that read every run, or every key in Redis.
    """
    local = [*_settings(project), *_jobs(project), *_former_server(project.settings)]
    local += check_broker(project, quick=quick)
    try:
        lacking = _permissions(project)
        if lacking.level is not Level.OK:
            # Any other command could be refused.
            return Report((*local, lacking))
        server = [_reached(project), lacking, *check_server(project.ledger)]
    except Unavailable as error:
        return Report((*local, _unreachable(error)))
    local += [*server, *_embedded(project.settings)]
    if any(finding.name in ("replication", "disk-writes") and finding.level is Level.PROBLEM for finding in server):
        # Scripts are refused there, and the reason is among the findings.
        return Report(tuple(local))
    mended: list[Finding] = []
    try:
        if repair:
            mended = _repair(project)
        return Report((*local, *_ledger(project, quick=quick)), tuple(mended))
    except Unavailable as error:
        return Report((*local, _unreachable(error)), tuple(mended))


def _permissions(project: Project) -> Finding:
    missing = missing_permissions(project.ledger)
    if missing.rules:
        return problem("permissions", f"the user of redis_url lacks permissions: {missing}", remedy(missing))
    return ok("permissions", "the user of redis_url has all permissions that are needed")


def _ledger(project: Project, *, quick: bool) -> Iterator[Finding]:
    yield from check_workers(project.ledger, versions())
    if not quick:
        yield from check_queues(project.ledger)
    yield from _served(project)
    declared = {job.queue for job in project.catalog.jobs.all()}
    yield from check_plain_queues(project.ledger, {*declared, *project.settings.worker.queues})
    yield from check_hints(project)
    yield from check_hooks(project.ledger)
    yield from check_pauses(project.ledger)
    yield from check_successes(project.ledger, deadlines(project.catalog))
    yield from _schedules(project)
    yield check_retention(project.ledger)
    yield from check_archive(project)
    if not quick:
        yield from reconcile(project.ledger)
    yield check_dead_letters(project.ledger)


def _served(project: Project) -> Iterator[Finding]:
    """Check that workers take runs from the queues of all enabled jobs, even if no run is waiting there."""
    queues: dict[str, list[str]] = {}
    for job in sorted(project.catalog.jobs.all(), key=lambda job: job.name):
        if job.enabled:
            queues.setdefault(job.queue, []).append(job.name)
    yield from check_served(project.ledger, queues, _scheduled(project))


def _scheduled(project: Project) -> list[str]:
    """Return the enabled jobs with a schedule; none where ``schedules`` is false."""
    jobs = project.catalog.jobs
    return (
        sorted(name for name, job in jobs.items() if job.schedule and job.enabled) if project.settings.schedules else []
    )


def _schedules(project: Project) -> Iterator[Finding]:
    """Check that due runs are submitted, by a tick, a scheduler, or ``runner up``."""
    scheduled = _scheduled(project)
    if not scheduled:
        return
    behind = Engine(project).behind()
    for name, fault in behind.faults.items():
        yield problem("schedules", f"job {name} never runs from here: {fault}", "correct its schedule")
    unseen = behind.unseen
    late = min(behind.due.items(), key=lambda due: due[1], default=None)
    if late is not None and behind.now - late[1] > UNSUBMITTED_SECONDS * 1000:
        what = f"no tick and no scheduler submits due runs: {late[0]} was due {to_timestamp(late[1])}"
    elif unseen:
        what = f"no tick and no scheduler has read {things(len(unseen), 'schedule')} yet: {named(unseen)}"
    else:
        yield ok("schedules", f"{things(len(scheduled), 'job')} with a schedule, and all due runs are submitted")
        return
    yield warning("schedules", what, "runner cron install, or runner up --systemd, or runner scheduler")


def _repair(project: Project) -> list[Finding]:
    """Repair what can be repaired; return the findings from before the repair."""
    mended = [finding for finding in reconcile(project.ledger, mend=True) if finding.repairable and finding.count]
    letters = check_dead_letters(project.ledger)
    if letters.count:
        try:
            path = archive_dead_letters(project.ledger, project.settings.state_dir)
        except (OSError, InvalidSettings):
            return mended  # they are found again, and stay a warning
        mended.append(
            Finding(name=letters.name, level=letters.level, what=f"{letters.what}: now in {path}", count=letters.count)
        )
    return mended


def _unreachable(error: RunnerError) -> Finding:
    return problem("server", error.message, error.hint or "start it")


def _reached(project: Project) -> Finding:
    # The first command raises Unavailable if the server is down.
    project.ledger.workers()
    url = project.settings.redis_url
    return ok("server", "the embedded server answers" if url == EMBEDDED else f"{mask(url)} answers")


def _settings(project: Project) -> Iterator[Finding]:
    settings = project.settings
    for text in settings.warnings:
        yield warning("settings", text, "correct it")
    if not settings.warnings:
        files = ", and over it ".join(map(str, settings.files))
        yield ok("settings", files or f"{settings.project} has no runner.yaml, so all settings are defaults")


def _jobs(project: Project) -> Iterator[Finding]:
    catalog = project.catalog
    problems = catalog.all_problems()
    if problems:
        yield problem(
            "jobs",
            f"{things(len(problems), 'problem')} in job files: {problems[0]}",
            "runner validate lists them all",
        )
    for text in catalog.warnings:
        yield warning("jobs", text, "see runner validate")
    unsafe = sorted(catalog.unsafe())
    if unsafe:
        yield warning(
            "unsafe",
            f"{things(len(unsafe), 'job')} with unsafe: true, whose submitters can choose what is run: {named(unsafe)}",
            "runner validate says where; write it so that unsafe can be removed",
        )
    yield from _needs_of_jobs(project)
    if not problems and not catalog.warnings:
        yield ok("jobs", f"{things(len(catalog.jobs), 'job')} in {things(catalog.files, 'file')}")


def _needs_of_jobs(project: Project) -> Iterator[Finding]:
    """Check that the files and commands that jobs need exist on this host."""
    jobs = project.catalog.jobs
    names = sorted({name for option in ("env_file", "secrets", "watch") for name in jobs.with_option(option)})
    complaints = [
        f"{name}: {complaint}"
        for name in names
        for complaint in host_complaints(jobs[name], project.settings, os.environ)
    ]
    for text in complaints[:EXAMPLES]:
        yield warning("needs", f"job {text}", "correct it, if workers of the job run on this host")
    if len(complaints) > EXAMPLES:
        yield warning(
            "needs", f"{things(len(complaints) - EXAMPLES, 'more fault')} of this kind", "correct the first ones"
        )


def _embedded(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url != EMBEDDED:
        return
    server = embedded.running(settings)
    left = shutil.disk_usage(settings.state_dir).free
    if left < LITTLE_SPACE:
        free = f"only {left // 1024**2} MiB are free for {settings.state_dir}"
        yield warning("embedded", free, "free space on its disk")
    elif server is not None:
        yield ok("embedded", f"{server.program} runs as process {server.pid} since {server.started_at}")


def _former_server(settings: Settings) -> Iterator[Finding]:
    """Warn if the project uses another server now, and runs may be left on its embedded one."""
    if settings.redis_url == EMBEDDED:
        return
    data = Place(settings.state_dir, "").data
    if any(path.stat().st_size for path in data.glob("appendonlydir/*.aof")) if data.is_dir() else False:
        yield warning(
            "former-server",
            f"the embedded server's data is still in {data}, and its runs are not on the server of redis_url",
            "RUNNER_REDIS_URL=embedded runner runs lists them, RUNNER_REDIS_URL=embedded runner worker finishes them; "
            f"then remove {data}",
        )


def versions() -> dict[str, str]:
    """Return the installed versions of the runner and the main packages that it needs, by distribution."""
    found = {"runner": __version__}
    for name in ("celery", "kombu", "redis"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a copy without metadata, such as a zipped one
            found[name] = "unknown"
    return found
