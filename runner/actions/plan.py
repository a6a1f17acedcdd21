"""Compare the local jobs with those that the fleet runs."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from itertools import islice
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.actions.skipped import LOOK_AHEAD, SkippedSlots, skipped_slots
from runner.catalog.live import catalog_digest
from runner.catalog.published import Published, publish, read_published
from runner.ledger.reach import reaching
from runner.ledger.record import unpack_digest
from runner.ledger.specs import read_specs
from runner.model.run import to_timestamp
from runner.model.schedule import SCHEDULES
from runner.model.worker import Worker
from runner.schedule.timetable import from_milliseconds, milliseconds, next_slot, timetables

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.yaml_reader.problem import Problem

NEXT_RUNS = 3
"""The number of future runs that are shown for a moved schedule."""

MOST_SKIPPED = 10
"""The number of skipped intervals that are shown for a moved schedule."""

MOST_QUEUED = 10_000
"""The maximum number of waiting runs that are examined, newest first."""

PATIENCE_SECONDS = 3.0
"""Seconds that a new worker may take to publish its jobs."""


@dataclass(frozen=True, slots=True)
class OptionChange:
    """A changed option of a job: its dotted path, and its values as in YAML; None means the default."""

    option: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Moved:
    """A moved schedule: the next runs before and after the change (Unix ms)."""

    job: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    skipped: tuple[SkippedSlots, ...] = ()
    """The skipped slots up to the last of ``after``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The changes that would happen if every worker had the local job files."""

    added: tuple[str, ...]
    changed: Mapping[str, tuple[OptionChange, ...]]
    removed: tuple[str, ...]
    schedules: tuple[Moved, ...]
    queued: Mapping[str, int]
    """The waiting runs that were submitted with another spec, by job; they will run with the new one."""
    workers: tuple[dict[str, Any], ...]
    """The live workers: name, catalog, current (whether it has the local jobs), behind (the reason why it differs from
    most others, or None)."""
    problems: tuple[Problem, ...] = field(default=())
    """The problems of the local files."""
    unsafe: tuple[str, ...] = ()
    """The local jobs with ``unsafe: true``; a key of the document only if there are any."""

    @property
    def differs(self) -> bool:
        """Return whether anything would change."""
        behind = any(worker["behind"] for worker in self.workers)
        return bool(self.added or self.changed or self.removed or behind)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        unsafe = {"unsafe": list(self.unsafe)} if self.unsafe else {}
        return {
            "added": list(self.added),
            "changed": {
                name: [{"option": change.option, "before": change.before, "after": change.after} for change in changes]
                for name, changes in self.changed.items()
            },
            "removed": list(self.removed),
            "schedules": [
                {
                    "job": schedule.job,
                    "before": [to_timestamp(moment) for moment in schedule.before],
                    "after": [to_timestamp(moment) for moment in schedule.after],
                    "skipped": [slots.document() for slots in schedule.skipped],
                }
                for schedule in self.schedules
            ],
            "queued": dict(self.queued),
            "workers": list(self.workers),
            "problems": [problem.as_dict() for problem in self.problems],
            **unsafe,
        }


def plan(project: Project) -> Plan:
    """Compare the local jobs with those of the fleet, that is, of most live workers.

    Jobs of files with problems are left out. Without a live worker, every job is new.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    catalog = project.catalog
    here = publish(catalog, project.settings.namespace)
    digest = catalog_digest(catalog.digests())
    workers = _live(project)
    reference = _reference(workers)
    text = read_specs(project.ledger, reference) if reference is not None else None
    there = read_published(text) if text is not None else {}
    known = {*here, *catalog.broken}
    changed = {
        name: tuple(compare(there[name].options, here[name].options))
        for name in sorted(here)
        if name in there and there[name].digest != here[name].digest
    }
    return Plan(
        added=tuple(sorted(name for name in here if name not in there)),
        changed=changed,
        removed=tuple(sorted(name for name in there if name not in known)),
        schedules=tuple(_moved(project, here, there, known)),
        queued=_queued(project),
        workers=tuple(
            {
                "name": worker.name,
                "catalog": worker.catalog,
                "current": worker.catalog == digest,
                "behind": _behind(worker, reference),
            }
            for worker in workers
        ),
        problems=tuple(problem for problem in catalog.all_problems() if problem.severity == "error"),
        unsafe=tuple(sorted(catalog.unsafe())),
    )


def _live(project: Project) -> list[Worker]:
    """Return the live workers, once they have published their jobs or had the time to."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        workers = project.ledger.workers()
        if all(worker.catalog for worker in workers) or time.monotonic() > deadline:
            return workers
        time.sleep(0.1)


def _reference(workers: Sequence[Worker]) -> str | None:
    """Return the catalog that most workers have; in a tie, the newest one."""
    counts = Counter(worker.catalog for worker in workers if worker.catalog)
    latest: dict[str, str] = {}
    for worker in workers:
        if worker.catalog:
            latest[worker.catalog] = max(latest.get(worker.catalog, ""), worker.catalog_since)
    return max(counts, key=lambda digest: (counts[digest], latest[digest]), default=None)


def _behind(worker: Worker, reference: str | None) -> str | None:
    if worker.catalog is None:
        return "does not tell what it runs"
    if worker.problems.count:
        return f"its files have problems: {worker.problems.first[0]}"
    return None if worker.catalog == reference else "runs other jobs than most"


def compare(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[OptionChange]:
    """Yield the differences between two jobs, option by option; a step that is added or removed is one difference."""
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        is_step = path == "steps." and (old is None or new is None)
        if isinstance(old, Mapping | None) and isinstance(new, Mapping | None) and not is_step:
            yield from compare(old or {}, new or {}, f"{path}{key}.")
        else:
            yield OptionChange(f"{path}{key}", old, new)


def _moved(
    project: Project, here: Mapping[str, Published], there: Mapping[str, Published], known: set[str]
) -> Iterator[Moved]:
    now = round(time.time() * 1000)
    for name in sorted({*here, *there}):
        old = there[name].options if name in there else {}
        # Broken local jobs stay unchanged.
        new = here[name].options if name in here else old if name in known else {}
        if _fires(old) != _fires(new):
            after = _next_runs(project, new, now)
            yield Moved(name, _next_runs(project, old, now), after, _skipped(project, name, now, after))


def _fires(options: Mapping[str, Any]) -> Any:
    """Return the schedules of a job without their params."""
    written = options.get("schedule") or None if options.get("enabled", True) else None
    if isinstance(written, list):
        return [_when(schedule) for schedule in written]
    return _when(written)


def _when(written: Any) -> Any:
    if not isinstance(written, Mapping) or "params" not in written:
        return written
    left = {name: value for name, value in written.items() if name != "params"}
    return left["cron"] if list(left) == ["cron"] else left


def _skipped(project: Project, name: str, now: int, after: Sequence[int]) -> tuple[SkippedSlots, ...]:
    job = project.catalog.jobs.get(name)
    if job is None or not job.enabled:
        return ()
    found: list[SkippedSlots] = []
    with contextlib.suppress(Exception):
        until = after[-1] if after else now + LOOK_AHEAD
        found += islice(skipped_slots(project, job, now, until), MOST_SKIPPED)
    return tuple(found)


def _next_runs(project: Project, options: Mapping[str, Any], now: int) -> tuple[int, ...]:
    written = _fires(options)
    if written is None:
        return ()
    found: list[int] = []
    slot = from_milliseconds(now)
    # A schedule from another host may be invalid here: this host may not know its time zone.
    with contextlib.suppress(Exception):
        schedules = SCHEDULES.read(written, (), lambda *_, **__: None)
        tables = timetables(schedules, project.settings.timezone, project.catalog.calendars)
        while len(found) < NEXT_RUNS and (following := next_slot(tables, slot)) is not None:
            slot = following
            found.append(milliseconds(slot))
    return tuple(found)


def _queued(project: Project) -> dict[str, int]:
    """Count, for each job, the waiting runs that were submitted under another spec than the local one."""
    ledger, here = project.ledger, project.catalog.digests()
    with reaching(ledger.settings):
        ids: list[Any] = []
        for state in ("PENDING", "RETRY"):
            ids += ledger.client.zrange(ledger.keys.state(state), 0, MOST_QUEUED - 1, desc=True)
        with ledger.client.pipeline(transaction=False) as pipe:
            for run_id in ids:
                pipe.hmget(ledger.keys.run(run_id), "job", "spec_digest")
            records = pipe.execute()
    # An approval is a step without a spec of its own.
    counts = Counter(
        job
        for job, spec in records
        if job and (here[job] != unpack_digest(spec) if job in here else not _is_step(project, job))
    )
    return dict(sorted(counts.items()))


def _is_step(project: Project, name: str) -> bool:
    flow, slash, step = name.partition("/")
    job = project.catalog.jobs.get(flow) if slash else None
    return job is not None and step in job.steps
