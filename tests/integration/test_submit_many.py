"""``runner.submit_many``: what a program gets, and its error if not all runs were made."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import runner
from runner.errors import (
    InvalidParams,
    JobDisabled,
    JobPaused,
    KeyConflict,
    PartlySubmitted,
    RunnerError,
    Unavailable,
    UnknownJob,
    UsageError,
)
from runner.ledger.pauses import pause
from runner.ledger.scripts import digest
from runner.model.run import State
from tests.fault.server import RedisServer
from tests.support.project import Project, write_project
from tests.support.proxy import Command, Proxy, Verdict
from tests.support.servers import Server

JOBS: dict[str, Any] = {
    "count": {"task": "work:count", "params": {"n": {"type": "integer"}, "name": {"type": "string"}}},
    "off": {"task": "work:count", "enabled": False},
}


@pytest.fixture
def project(redis_server: Server, tmp_path: Path) -> Project:
    return write_project(tmp_path / "p", redis_server.url, JOBS, {"work.py": "def count(**_): ..."})


def numbers(count: int, start: int = 0) -> Iterator[dict[str, int]]:
    return ({"n": n} for n in range(start, start + count))


def params(project: Project) -> list[int]:
    """Return the param ``n`` of all runs, the next to start first."""
    ledger = project.ledger()
    try:
        return sorted(run.params["n"] for run in ledger.runs(limit=10_000))
    finally:
        ledger.close()


def test_a_run_for_each_item_in_their_order(project: Project) -> None:
    runs = runner.submit_many("count", numbers(1203), project=project.path)
    assert [runs[n].document()["params"] for n in (0, 499, 500, 1202)] == [{"n": n} for n in (0, 499, 500, 1202)]
    assert params(project) == list(range(1203))
    assert runs[0].document()["trigger"] == "api"
    assert len({run.id for run in runs}) == 1203


def test_no_items_are_no_runs(project: Project) -> None:
    assert runner.submit_many("count", [], project=project.path) == []


def test_a_handle_is_like_any_other(project: Project) -> None:
    (run,) = runner.submit_many("count", numbers(1), project=project.path)
    assert repr(run) == f"<run {run.id} of count>"
    with project.worker():
        assert run.wait(30).state is State.SUCCESS
    assert runner.get_run(run.id, project=project.path).state is State.SUCCESS
    run.forget()


def test_what_is_asked_for_holds_for_all(project: Project) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    for run in runner.submit_many(
        "count", numbers(2), at=at, expires=60, queue="other", priority=9, project=project.path
    ):
        document = run.document()
        assert (document["queue"], document["priority"], document["detail"]) == ("other", 9, document["detail"])
        assert datetime.fromisoformat(document["eta"]).replace(microsecond=0) == at.replace(microsecond=0)
        assert document["expires_at"] > document["eta"]


def test_a_bad_item_does_not_keep_the_others_back(project: Project) -> None:
    items: list[Any] = [{"n": 0}, {"n": "one"}, {"m": 2}, {"n": 3}]
    with pytest.raises(PartlySubmitted, match=r"submitted: 2, refused: 2; item 1: .*n: ") as raised:
        runner.submit_many("count", items, project=project.path)
    assert params(project) == [0, 3]
    assert [run is not None for run in raised.value.runs] == [True, False, False, True]
    assert list(raised.value.refused) == [1, 2]
    assert all(isinstance(error, InvalidParams) for error in raised.value.refused.values())
    assert (raised.value.stopped_by, raised.value.exit_code) == (None, 2)


def test_what_is_no_mapping_is_refused(project: Project) -> None:
    with pytest.raises(PartlySubmitted) as raised:
        runner.submit_many("count", [{"n": 0}, [1], None, "n=1"], project=project.path)  # type: ignore[list-item]
    assert list(raised.value.refused) == [1, 2, 3]
    assert params(project) == [0]


def test_with_keys_the_same_items_again_are_the_same_runs(project: Project) -> None:
    first = runner.submit_many("count", numbers(700), key_from="n", project=project.path)
    again = runner.submit_many("count", numbers(800), key_from="n", project=project.path)
    assert [run.id for run in again[:700]] == [run.id for run in first]
    assert params(project) == list(range(800))
    assert first[7].document()["key"] == "7"


def test_the_same_key_with_other_params_is_refused(project: Project) -> None:
    items: list[dict[str, Any]] = [{"n": 1, "name": "a"}, {"n": 2, "name": "a"}, {"n": 1, "name": "a"}, {"n": 3}]
    with pytest.raises(PartlySubmitted) as raised:
        runner.submit_many("count", items, key_from="name", project=project.path)
    assert isinstance(raised.value.refused[1], KeyConflict)
    assert "has no name" in raised.value.refused[3].message
    first, _, third, _ = raised.value.runs
    assert first.id == third.id
    assert params(project) == [1]


@pytest.mark.parametrize("value", [True, 1.5, [1], "", "x" * 300, "a\nb"], ids=repr)
def test_not_every_value_is_a_key(project: Project, value: Any) -> None:
    with pytest.raises(PartlySubmitted, match="key"):
        runner.submit_many("count", [{"name": value}], key_from="name", project=project.path)


def test_nothing_is_taken_of_what_cannot_be_submitted(project: Project) -> None:
    def items() -> Iterator[dict[str, int]]:
        yield pytest.fail("taken")

    cases: list[tuple[type[RunnerError], str, dict[str, Any]]] = [
        (UnknownJob, "cuont", {}),
        (JobDisabled, "off", {}),
        (UsageError, "count", {"priority": 10}),
        (UsageError, "count", {"key_from": "nn"}),
        (UsageError, "count", {"delay": 1, "at": datetime.now(UTC)}),
    ]
    for error, job, options in cases:
        with pytest.raises(error):
            runner.submit_many(job, items(), project=project.path, **options)


def test_a_pause_ends_it(project: Project) -> None:
    ledger = project.ledger()

    def items() -> Iterator[dict[str, int]]:
        # The second batch is under way by then, and may come before the pause or after it.
        yield from numbers(1100)
        pause(ledger, "count", by="ann")
        yield from numbers(1100, 1100)

    with pytest.raises(PartlySubmitted, match=r"submitted: (500|1000), refused: 0; then it stopped: .*ann") as raised:
        runner.submit_many("count", items(), project=project.path)
    ledger.close()
    assert isinstance(raised.value.stopped_by, JobPaused)
    assert len(raised.value.runs) in (500, 1000)
    assert params(project) == list(range(len(raised.value.runs)))


def test_an_error_of_the_items_is_the_callers(project: Project) -> None:
    def items() -> Iterator[dict[str, int]]:
        yield from numbers(700)
        raise LookupError("the database is away")

    with pytest.raises(LookupError):
        runner.submit_many("count", items(), project=project.path)
    assert params(project) == list(range(500))


class Spoiling:
    """Cuts the connection at each batch from number ``first`` on, for ``times`` commands."""

    def __init__(self, verdict: Verdict, first: int, times: int) -> None:
        self.verdict, self.first, self.times = verdict, first, times
        self.script = digest("runner.ledger", "submit_many").encode()
        self.batches = 0

    def __call__(self, command: Command) -> Verdict:
        if self.script not in command.words:
            return "pass"
        self.batches += 1
        if self.batches < self.first or self.times == 0:
            return "pass"
        self.times -= 1
        return self.verdict


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with RedisServer(tmp_path) as server, Proxy(("127.0.0.1", server.port)) as proxy:
        yield proxy


def behind(proxy: Proxy, folder: Path) -> Project:
    url = f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=2&socket_connect_timeout=2"
    project = write_project(
        folder / "p", url, JOBS, {"work.py": "def count(**_): ..."}, namespace=f"t{uuid.uuid4().hex}"
    )
    # The script is known to the server from here on, and one call is one command.
    runner.submit_many("count", numbers(1, -1), project=project.path)
    return project


@pytest.mark.parametrize("verdict", ["cut-before", "cut-after"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_whose_answer_is_lost_is_made_once(proxy: Proxy, tmp_path: Path, verdict: Verdict, times: int) -> None:
    project = behind(proxy, tmp_path)
    proxy.gate = Spoiling(verdict, 2, times)
    try:
        runs = runner.submit_many("count", numbers(1200), project=project.path)
    except PartlySubmitted as stopped:
        # It was tried twice, and neither reached the server.
        runs = [*stopped.runs, *runner.submit_many("count", numbers(700, 500), project=project.path)]
    assert params(project) == list(range(-1, 1200))
    assert [runs[n].document()["params"]["n"] for n in (0, 500, 999, 1199)] == [0, 500, 999, 1199]


def test_where_nothing_answers_it_says_where_to_go_on(proxy: Proxy, tmp_path: Path) -> None:
    project = behind(proxy, tmp_path)

    def items() -> Iterator[dict[str, int]]:
        yield from numbers(1000)
        proxy.black_hole()
        yield from numbers(1000, 1000)

    with pytest.raises(PartlySubmitted, match="it is not known whether the next batch was recorded") as raised:
        runner.submit_many("count", items(), key_from="n", project=project.path)
    proxy.forward()
    assert isinstance(raised.value.stopped_by, Unavailable)
    # The answer to the second batch may have come before, or not.
    assert len(raised.value.runs) in (500, 1000)
    # With keys it is safe to start over.
    runner.submit_many("count", numbers(2000), key_from="n", project=project.path)
    assert params(project) == list(range(-1, 2000))
