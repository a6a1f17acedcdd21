"""Lists of archived runs are right for every filter and page, on both kinds of databases."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from runner.archive.figures import figures
from runner.archive.reader import Reader
from runner.archive.rows import row_of
from runner.archive.store import Archive
from runner.model.log_line import LogLine
from runner.model.run import Run, State, to_timestamp
from runner.model.run_page import Position, position_of
from runner.model.run_query import RunQuery
from tests.support.archives import NAMESPACE

BASE = 1_700_000_000_000
FLOW = "f10a0000-0000-4000-8000-000000000000"


def made(count: int, spread: int) -> list[Run]:
    """Return finished runs, many of them in the same millisecond, the newest first."""
    rng = random.Random(7)
    found = []
    for number in range(count):
        at = BASE + rng.randrange(spread)
        state = rng.choice((State.SUCCESS, State.FAILURE, State.REVOKED))
        step = rng.random() < 0.3
        message = rng.choice(("Disk is Füll", 'no "route" 100%', "nothing"))
        run = Run(
            id=str(uuid.UUID(int=rng.getrandbits(128))),
            job=rng.choice(("a", "b")) if not step else rng.choice(("a", "big/load")),
            state=state,
            reason={State.FAILURE: "timeout", State.REVOKED: "expired"}.get(state),
            submitted_at=to_timestamp(at),
            started_at=to_timestamp(at + 1),
            finished_at=to_timestamp(at + 1 + number),
            trigger=rng.choice(("cli", "schedule")),
            worker=rng.choice(("w@one", "w@two", None)),
            tags=rng.sample(["x", "y_", "zü"], 2),
            key=f"k{number}",
            attempts=1,
            error={"type": "OSError", "message": message, "traceback": None} if state is State.FAILURE else None,
            flow=FLOW if step else None,
            step="load" if step else None,
            item=number if step else None,
        )
        found.append(run)
    return sorted(found, key=lambda run: position_of(run) or Position(0, ""), reverse=True)


Fits = Callable[[Run], bool]
CASES: list[tuple[dict[str, Any], Fits]] = [
    ({}, lambda run: run.flow is None),
    ({"steps": True}, lambda run: True),
    ({"job": "a"}, lambda run: run.job == "a" and run.flow is None),
    ({"job": "a", "steps": True}, lambda run: run.job == "a"),
    ({"job": "big/load"}, lambda run: run.job == "big/load"),
    ({"job": "none"}, lambda run: False),
    ({"state": [State.FAILURE]}, lambda run: run.state is State.FAILURE and run.flow is None),
    ({"state": [State.FAILURE, State.REVOKED]}, lambda run: run.state is not State.SUCCESS and run.flow is None),
    ({"state": [State.FAILURE], "steps": True}, lambda run: run.state is State.FAILURE),
    ({"state": [State.PENDING, State.STARTED]}, lambda run: False),
    ({"job": "b", "state": [State.SUCCESS]}, lambda run: run.job == "b" and run.state is State.SUCCESS),
    ({"flow": FLOW}, lambda run: run.flow is not None),
    ({"flow": FLOW, "state": [State.FAILURE]}, lambda run: run.flow is not None and run.state is State.FAILURE),
    ({"flow": FLOW, "job": "a"}, lambda run: run.flow is not None and run.job == "a"),
    ({"flow": "none"}, lambda run: False),
    ({"step": "load"}, lambda run: run.flow is not None),
    ({"reason": "expired"}, lambda run: run.reason == "expired" and run.flow is None),
    ({"state": [State.SUCCESS], "reason": "expired"}, lambda run: False),
    ({"tag": "zü", "job": "b"}, lambda run: "zü" in run.tags and run.job == "b"),
    ({"tag": "y_"}, lambda run: "y_" in run.tags and run.flow is None),
    ({"tag": "y"}, lambda run: False),
    ({"worker": "two"}, lambda run: run.worker == "w@two" and run.flow is None),
    ({"worker": "w@one"}, lambda run: run.worker == "w@one" and run.flow is None),
    ({"worker": "ne"}, lambda run: False),
    ({"trigger": "schedule"}, lambda run: run.trigger == "schedule" and run.flow is None),
    ({"key": "k7"}, lambda run: run.key == "k7" and run.flow is None),
    ({"grep": "disk IS fü"}, lambda run: "Füll" in told(run) and run.flow is None),
    ({"grep": "DISK IS FÜ"}, lambda run: "Füll" in told(run) and run.flow is None),
    ({"grep": 'NO "route" 100%'}, lambda run: "route" in told(run) and run.flow is None),
    ({"grep": "disk_is"}, lambda run: False),
    ({"since": (BASE + 20) / 1000}, lambda run: at(run) >= BASE + 20 and run.flow is None),
    ({"until": (BASE + 20) / 1000}, lambda run: at(run) <= BASE + 20 and run.flow is None),
    ({"since": (BASE + 10) / 1000, "until": (BASE + 20) / 1000, "job": "a", "state": [State.FAILURE]},
     lambda run: BASE + 10 <= at(run) <= BASE + 20 and run.job == "a" and run.state is State.FAILURE and not run.flow),
]  # fmt: skip


def told(run: Run) -> str:
    return str((run.error or {}).get("message", ""))


def at(run: Run) -> int:
    position = position_of(run)
    assert position is not None
    return position.at


@pytest.fixture
def runs(archive: Archive) -> list[Run]:
    found = made(250, spread=40)
    archive.put(NAMESPACE, [row_of(run) for run in found])
    archive.put("other", [row_of(run) for run in found[:50]])
    return found


def test_every_filter_and_every_page(archive: Archive, runs: list[Run]) -> None:
    reader = Reader(archive, NAMESPACE)
    for options, fits in CASES:
        expected = [run.id for run in runs if fits(run)]
        assert expected or fits(runs[0]) is False
        for order, limit in (("newest", 60), ("oldest", 90)):
            query = RunQuery(sort=order, **options)  # type: ignore[arg-type]
            wanted = expected if order == "newest" else expected[::-1]
            found: list[str] = []
            after: Position | None = None
            for _ in range(len(wanted) // limit + 2):
                part = reader.page(query, limit=limit, after=after)
                assert len(part.runs) <= limit
                assert all(run.archived for run in part.runs)
                assert not part.cut
                found += [run.id for run in part.runs]
                after = part.end
                if after is None:
                    break
            assert after is None, options
            assert found == wanted, (options, order, limit)


def test_a_page_looks_at_so_many_and_says_how_far_it_came(archive: Archive, runs: list[Run]) -> None:
    whole = [run for run in runs if run.flow is None]
    query = RunQuery(key=whole[-1].key)
    after, pages = None, 0
    while True:
        part = Reader(archive, NAMESPACE).page(query, limit=5, after=after, look=60)
        pages, after = pages + 1, part.end
        if part.runs:
            break
        assert (part.looked_at, part.cut) == (60, True)
        assert after == position_of(whole[60 * pages - 1])
    assert [run.id for run in part.runs] == [whole[-1].id]
    assert pages == -(-len(whole) // 60)


def test_the_longest_first(archive: Archive, runs: list[Run]) -> None:
    part = Reader(archive, NAMESPACE).page(RunQuery(sort="longest", job="b"), limit=3)
    by_time = sorted(runs, key=lambda run: int((run.key or "k0")[1:]), reverse=True)
    assert [run.id for run in part.runs] == [run.id for run in by_time if run.job == "b"][:3]
    assert part.end is None


def test_the_log_is_read_line_by_line(archive: Archive) -> None:
    lines = [LogLine(BASE, 1, None, "first\nsecond"), LogLine(BASE + 1, 2, "ERROR", "ü")]
    archive.put(NAMESPACE, [row_of(Run(id="a", job="a", state=State.FAILURE), lines)])
    assert Reader(archive, NAMESPACE).log("a") == lines


def test_figures_count_what_was_submitted_before(archive: Archive, runs: list[Run]) -> None:
    days = [BASE + 5, BASE + 15, BASE + 30]
    for limit in (None, next(position_of(run) for run in runs if at(run) == BASE + 25)):
        for job, as_steps in (("a", False), ("a", True), ("b", False), ("big/load", False)):
            of_steps = as_steps or "/" in job
            mine = [
                run
                for run in runs
                if run.job == job
                and (run.flow is not None) == of_steps
                and (limit is None or (position_of(run) or limit) < limit)
            ]
            found = figures(Reader(archive, NAMESPACE), {"none": None, job: limit}, days, {job: 10}, as_steps=as_steps)
            assert found["none"].counts == {}
            assert found[job].counts == {
                state: count for state in State if (count := sum(run.state is state for run in mine))
            }
            for number, (begin, end) in enumerate(pairwise(days)):
                for state in (State.SUCCESS, State.FAILURE, State.REVOKED):
                    expected = sum(run.state is state and begin <= at(run) < end for run in mine)
                    assert found[job].days[number].get(state, 0) == expected
            timed = [run for run in mine if run.state is not State.REVOKED][:10]
            assert [waited for waited, _ in found[job].times] == [0.001] * len(timed)
            sure = {seconds(run) for run in timed if at(run) > at(timed[-1])}
            assert sure <= {round(ran, 3) for _, ran in found[job].times}
            assert found[job].last_success is not None


def seconds(run: Run) -> float:
    return int((run.key or "k")[1:]) / 1000


def test_tables_that_are_created_while_it_reads(archive_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive.open(archive_url)
    reader = Reader(archive, NAMESPACE)
    assert reader.get("unknown") is None

    def created_meanwhile(_: Reader) -> bool:
        archive.prepare()
        return False

    monkeypatch.setattr(Reader, "_is_empty", created_meanwhile)
    assert reader.get("unknown") is None
    assert archive.version() > 0
    archive.close()
