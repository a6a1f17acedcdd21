"""Examine a project: its settings and specs, its servers, its workers, and whether ledger and queues agree."""

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
"""Seconds after which a slot that was not submitted tells that nobody looks; a tick comes each minute."""
LITTLE_SPACE = 256 * 1024**2
"""Bytes left on the embedded server's disk that deserve a word."""


def examine(project: Project, *, repair: bool = False, quick: bool = False) -> Report:
    """Return all findings. An unreachable server is a finding, not an error.

    Args:
        project: what to examine.
        repair: mend first what can be mended, and tell what that was.
        quick: leave out what looks at each run, or at each key in Redis.
    """
    local = [*_settings(project), *_jobs(project), *_former_server(project.settings)]
    local += check_broker(project, quick=quick)
    try:
        lacking = _permissions(project)
        if lacking.level is not Level.OK:
            # Whatever else is asked could be refused.
            return Report((*local, lacking))
        server = [_reached(project), lacking, *check_server(project.ledger)]
    except Unavailable as error:
        return Report((*local, _unreachable(error)))
    local += [*server, *_embedded(project.settings)]
    if any(finding.name in ("replication", "disk-writes") and finding.level is Level.PROBLEM for finding in server):
        # Scripts are refused there; what matters is told already.
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
    return ok("permissions", "the user of redis_url may do all that is needed")


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
    """Say whether workers take from the queues of the jobs, before anything waits in them."""
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
    """Say whether somebody submits what is due: a tick, a scheduler, or ``runner up``."""
    scheduled = _scheduled(project)
    if not scheduled:
        return
    behind = Engine(project).behind()
    for name, fault in behind.faults.items():
        yield problem("schedules", f"job {name} never runs from here: {fault}", "correct its schedule")
    unseen = behind.unseen
    late = min(behind.due.items(), key=lambda each: each[1], default=None)
    if late is not None and behind.now - late[1] > UNSUBMITTED_SECONDS * 1000:
        what = f"nobody submits what is due: {late[0]} was due {to_timestamp(late[1])}"
    elif unseen:
        what = f"no tick and no scheduler has looked at {things(len(unseen), 'schedule')} yet: {named(unseen)}"
    else:
        yield ok("schedules", f"{things(len(scheduled), 'job')} with a schedule, all that was due is submitted")
        return
    yield warning("schedules", what, "runner cron install, or runner up --systemd, or runner scheduler")


def _repair(project: Project) -> list[Finding]:
    """Mend what can be mended; return the findings that were, as they stood before."""
    mended = [finding for finding in reconcile(project.ledger, mend=True) if finding.repairable and finding.count]
    letters = check_dead_letters(project.ledger)
    if letters.count:
        try:
            path = archive_dead_letters(project.ledger, project.settings.state_dir)
        except (OSError, InvalidSettings):
            return mended  # it is found again, and stays a warning
        mended.append(
            Finding(name=letters.name, level=letters.level, what=f"{letters.what}: now in {path}", count=letters.count)
        )
    return mended


def _unreachable(error: RunnerError) -> Finding:
    return problem("server", error.message, error.hint or "start it")


def _reached(project: Project) -> Finding:
    # The first command: a server that is away is told by its error.
    project.ledger.workers()
    url = project.settings.redis_url
    return ok("server", "the embedded server answers" if url == EMBEDDED else f"{mask(url)} answers")


def _settings(project: Project) -> Iterator[Finding]:
    settings = project.settings
    for text in settings.warnings:
        yield warning("settings", text, "correct it")
    if not settings.warnings:
        files = ", and over it ".join(map(str, settings.files))
        yield ok("settings", files or f"{settings.project} has no runner.yaml, all is default")


def _jobs(project: Project) -> Iterator[Finding]:
    catalog = project.catalog
    problems = catalog.all_problems()
    if problems:
        yield problem(
            "jobs",
            f"{things(len(problems), 'problem')} in files of jobs: {problems[0]}",
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
    """Say which files and commands that jobs need are missing on this host."""
    jobs = project.catalog.jobs
    names = sorted({name for option in ("env_file", "secrets", "watch") for name in jobs.with_option(option)})
    told = [f"{name}: {each}" for name in names for each in host_complaints(jobs[name], project.settings, os.environ)]
    for text in told[:EXAMPLES]:
        yield warning("needs", f"job {text}", "correct it, if workers of the job run on this host")
    if len(told) > EXAMPLES:
        yield warning("needs", f"{things(len(told) - EXAMPLES, 'more fault')} of this kind", "correct the first ones")


def _embedded(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url != EMBEDDED:
        return
    server = embedded.running(settings)
    left = shutil.disk_usage(settings.state_dir).free
    if left < LITTLE_SPACE:
        yield warning("embedded", f"{left // 1024**2} MiB are left for {settings.state_dir}", "free space on its disk")
    elif server is not None:
        yield ok("embedded", f"{server.program} runs as process {server.pid} since {server.started_at}")


def _former_server(settings: Settings) -> Iterator[Finding]:
    """Say that runs may be left on the embedded server of a project that uses another one now."""
    if settings.redis_url == EMBEDDED:
        return
    data = Place(settings.state_dir, "").data
    if any(path.stat().st_size for path in data.glob("appendonlydir/*.aof")) if data.is_dir() else False:
        yield warning(
            "former-server",
            f"the embedded server's data is still in {data}: its runs are not seen through redis_url",
            "RUNNER_REDIS_URL=embedded runner runs lists them, RUNNER_REDIS_URL=embedded runner worker finishes them; "
            f"then remove {data}",
        )


def versions() -> dict[str, str]:
    """Return the versions of what matters, by distribution."""
    found = {"runner": __version__}
    for name in ("celery", "kombu", "redis"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a copy without metadata, such as a zipped one
            found[name] = "unknown"
    return found
