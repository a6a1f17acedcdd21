"""Lists go from the ledger to the archive without a seam, and what is in both comes once."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.actions.project import Project
from runner.actions.stats import stats
from runner.archive.rows import row_of
from runner.errors import AmbiguousId, ArchiveUnavailable, UnknownRun
from runner.ledger.ledger import Ledger
from runner.model.run import FINAL, Run, State, to_timestamp
from runner.model.run_query import RunQuery
from runner.settings import Settings
from tests.support.bench import Bench
from tests.support.servers import free_port

BASE = 1_700_000_000_000


@pytest.fixture
def project(settings: Settings, tmp_path: Path) -> Iterator[Project]:
    opened = Project(replace(settings, archive_url=f"sqlite:///{tmp_path}/archive.db"))
    opened.behind.archive.prepare()
    yield opened
    opened.behind.archive.close()
    opened.ledger.close()


def keep(ledger: Ledger, runs: list[Run]) -> None:
    """Write runs straight into Redis."""
    with ledger.client.pipeline(transaction=False) as pipe:
        for run in runs:
            at = BASE + int(run.key or 0)
            record = {
                "job": run.job,
                "state": str(run.state),
                "queue": "default",
                "priority": "5",
                "submitted_at": str(at),
                "trigger": run.trigger,
                "key": run.key or "",
                "attempts": "1",
            }
            if run.final:
                record |= {"started_at": str(at), "finished_at": str(at + 5)}
            pipe.hset(ledger.keys.run(run.id), mapping=record)  # type: ignore[arg-type]
            pipe.zadd(ledger.keys.ids, {run.id: 0})
            pipe.zadd(ledger.keys.state(run.state), {run.id: at})
            pipe.zadd(ledger.keys.job(run.job, run.state), {run.id: at})
        pipe.execute()


def archive(project: Project, runs: list[Run]) -> None:
    project.behind.archive.put(project.settings.namespace, [row_of(run) for run in runs])


def some(rng: random.Random, number: int, state: State | None = None) -> Run:
    at = rng.randrange(number)
    state = state or rng.choice(sorted(FINAL))
    end = {"started_at": to_timestamp(BASE + at), "finished_at": to_timestamp(BASE + at + 5)} if state in FINAL else {}
    return Run(
        id=str(uuid.UUID(int=rng.getrandbits(128))),
        job=rng.choice(("a", "b")),
        state=state,
        trigger=rng.choice(("cli", "web")),
        key=str(at),
        attempts=1,
        submitted_at=to_timestamp(BASE + at),
        **end,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", range(3))
def test_every_run_comes_once_and_in_order_whatever_is_where(project: Project, seed: int) -> None:
    rng = random.Random(seed)
    runs = [some(rng, 40) for _ in range(150)] + [some(rng, 40, State.PENDING) for _ in range(5)]
    kept = [run for run in runs if not run.final or rng.random() < rng.choice((0.2, 0.8))]
    known = {run.id for run in kept}
    archived = [run for run in runs if run.final and (run.id not in known or rng.random() < 0.5)]
    keep(project.ledger, kept)
    archive(project, archived)
    runs.sort(key=lambda run: (int(run.key or 0), run.id), reverse=True)
    cases: list[tuple[dict[str, Any], Any]] = [
        ({}, lambda run: True),
        ({"job": "a"}, lambda run: run.job == "a"),
        ({"state": [State.FAILURE, State.PENDING]}, lambda run: run.state in (State.FAILURE, State.PENDING)),
        ({"trigger": "web", "since": (BASE + 20) / 1000}, lambda run: run.trigger == "web" and int(run.key) >= 20),
        ({"sort": "oldest", "job": "b"}, lambda run: run.job == "b"),
    ]
    for options, fits in cases:
        wanted = [run.id for run in runs if fits(run)]
        found: list[Run] = []
        cursor = None
        for _ in range(len(wanted)):
            page = project.records.page(RunQuery(**options), limit=rng.choice((7, 20, 60)), cursor=cursor)
            found += page.runs
            cursor = page.cursor
            if cursor is None:
                break
        assert [run.id for run in found] == (wanted[::-1] if "sort" in options else wanted)
        # Of a run that is in both, the ledger's document counts.
        assert all(run.archived == (run.id not in known) for run in found)
    alone = project.records.page(RunQuery(archived=True), limit=500)
    assert {run.id for run in alone.runs} == {run.id for run in archived}
    assert all(run.archived for run in alone.runs)


def test_figures_count_no_run_twice(project: Project) -> None:
    runs = [
        Run(
            id=f"run-{at:05d}",
            job="a",
            state=State.SUCCESS,
            key=str(at),
            attempts=1,
            submitted_at=to_timestamp(BASE + at),
            started_at=to_timestamp(BASE + at),
            finished_at=to_timestamp(BASE + at + 7),
        )
        for at in range(40)
    ]
    keep(project.ledger, runs[25:])
    archive(project, runs[:35])
    [found] = stats(project, "a")
    assert found.tally.counts[State.SUCCESS] == 40
    assert len(found.tally.durations) == 40
    [found] = stats(project, "a", archived=True)
    assert found.tally.counts[State.SUCCESS] == 35
    assert found.tally.durations == [0.007] * 35


def test_a_result_that_has_expired_in_redis_is_taken_from_the_archive(project: Project, bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    bench.attempts.succeed(run.id, token, "42")
    archive(project, [bench.ledger.get(run.id)])
    bench.ledger.client.delete(f"celery-task-meta-{run.id}")
    assert bench.ledger.get(run.id).result_expired
    found = project.records.get(run.id)
    assert (found.result, found.result_expired, found.archived) == (42, False, False)
    assert project.records.page(RunQuery(), limit=9).runs[0].result_expired  # a list does not look for results


def test_a_prefix_must_be_unique_in_both(project: Project, bench: Bench) -> None:
    there = bench.submit(id="abcdefgh-1")
    archive(
        project,
        [replace(there, id="abcdefgh-2", state=State.SUCCESS), replace(there, id="abcdefgi", state=State.SUCCESS)],
    )
    with pytest.raises(AmbiguousId, match="abcdefgh-1, abcdefgh-2"):
        project.records.resolve("abcdefgh")
    assert project.records.resolve("abcdefgh-1") == "abcdefgh-1"
    assert project.records.resolve("abcdefgh-2") == "abcdefgh-2"
    assert project.records.resolve("abcdefgi") == "abcdefgi"
    with pytest.raises(AmbiguousId, match="too short"):
        project.records.resolve("abcdefg")
    assert [run.id for run in project.records.read(["abcdefgi", "none", "abcdefgh-1"])] == ["abcdefgi", "abcdefgh-1"]


def test_one_that_waits_is_told_of_a_run_that_has_gone_to_the_archive(project: Project, bench: Bench) -> None:
    run = bench.submit()
    with project.ledger.watch([run.id], project.records.archived) as watch:
        changes = watch.changes()
        assert next(changes).state is State.PENDING
        archive(project, [replace(run, state=State.SUCCESS)])
        bench.ledger.client.delete(bench.ledger.keys.run(run.id))
        bench.ledger.client.publish(bench.ledger.keys.changed(run.id), "SUCCESS")
        assert next(changes).state is State.SUCCESS
        assert list(changes) == []


def test_an_archive_that_is_away_is_told_of_once_in_a_while(settings: Settings) -> None:
    url = f"postgresql://runner@127.0.0.1:{free_port()}/runner"
    project = Project(replace(settings, archive_url=url))
    messages: list[str] = []
    project.behind.tell_away = lambda error: messages.append(error.message)
    for _ in range(3):
        with pytest.raises(UnknownRun):
            project.records.get("none")
    assert len(messages) == 1
    with pytest.raises(ArchiveUnavailable):
        project.reading(archived=True).get("none")
    project.ledger.close()
