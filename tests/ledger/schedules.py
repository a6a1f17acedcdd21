"""A project with schedules, and a clock that tests set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from runner.actions.project import Project
from runner.actions.tick import Engine
from runner.ledger.ledger import Ledger
from runner.model.run import Run, to_datetime
from runner.settings import Settings, load_settings


def ms(text: str) -> int:
    """Return the Unix ms of a time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class Place:
    """A host with a checkout of the project. All places of a test share ledger and clock."""

    def __init__(self, folder: Path, settings: Settings, ledger: Ledger) -> None:
        self.folder = folder
        self.url, self.namespace = settings.redis_url, settings.namespace
        self.ledger = ledger
        self.now = ms("2026-01-01T00:00")
        self.settings_text = ""
        (folder / "jobs.d").mkdir(parents=True)

    def another(self, folder: Path) -> Place:
        """Return another host."""
        other = Place(folder, self.ledger.settings, self.ledger)
        other.now = self.now
        return other

    def write(self, jobs: str) -> None:
        """Write ``jobs.d``: one ``name: {options}`` a line."""
        lines = "".join(f"  {line.strip()}\n" for line in jobs.strip().splitlines())
        (self.folder / "jobs.d" / "jobs.yaml").write_text(
            "x-all: &all {catchup: all, catchup_window: 20d}\n"
            "x-day: &day {day: '${run.slot.date - 1d}'}\n"
            f"defaults: {{task: os:getpid}}\njobs:\n{lines}"
        )

    def engine(self) -> Engine:
        """Return a new engine, as each tick has one."""
        text = f"redis_url: {self.url}\nnamespace: {self.namespace}\n{self.settings_text}"
        (self.folder / "runner.yaml").write_text(text)
        project = Project(load_settings(self.folder, environ={}))
        project.__dict__["ledger"] = self.ledger
        return Engine(project, lambda: self.now)

    def tick(self, at: str | None = None) -> list[str]:
        """Tick at a time in UTC; return the submissions in order, each as ``job DAYThh:mm``."""
        if at is not None:
            self.now = ms(at)
        return [
            f"{job} {datetime.fromtimestamp(slot / 1000, UTC):%dT%H:%M}"
            for job, slot, _ in self.engine().tick().submitted
        ]

    def runs(self, job: str) -> list[Run]:
        """Return the runs of a job, by their slots."""
        return sorted(self.ledger.runs(job=job, limit=100_000), key=lambda run: run.slot or "")

    def slots(self, job: str) -> list[datetime]:
        """Return the slots of a job's runs."""
        return [to_datetime(run.slot) for run in self.runs(job) if run.slot]


@contextmanager
def swarm_clock(place: Place) -> Iterator[str]:
    """Yield the key in Redis that the processes of a swarm take their time from."""
    key = f"{place.namespace}:test-clock"
    place.ledger.client.set(key, place.now)
    yield key
    place.ledger.client.delete(key)
