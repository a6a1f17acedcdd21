"""One run for each version of a watched file, whoever looks, and whatever breaks."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.actions.project import Project as Opened
from runner.ledger.store import Store
from runner.ledger.submission import Submission
from runner.ledger.together import submit_each
from runner.triggers.watch import FileWatch, Looked
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server

JOB: dict[str, Any] = {
    "task": "work:take",
    "params": {"path": {"type": "string", "required": True}},
    "watch": {"path": "inbox/*.csv", "settle": "100ms"},
}
MODULE = """
def take(path):
    with open(path) as file:
        return len(file.read())
"""


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Project:
    made = write_project(tmp_path / "p", redis_server.url, {"take": JOB}, {"work.py": MODULE})
    (made.path / "inbox").mkdir()
    return made


def put(project: Project, name: str, text: str = "text") -> Path:
    file = project.path / "inbox" / name
    file.write_text(text)
    return file


def looking(project: Project) -> tuple[Opened, FileWatch]:
    opened = Opened.open(str(project.path))
    return opened, FileWatch(opened.ledger, "test")


def until(look: Callable[[], Looked], count: int) -> list[str]:
    """Check the folder until ``count`` runs were made; return their paths."""
    made: list[str] = []

    def enough() -> bool:
        made.extend(path for _, path, _ in look().submitted)
        return len(made) >= count

    wait_until(enough, 30.0, f"{count} runs")
    return made


def runs(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(project.cli("runs", "--limit", "1000", "--json").check().stdout)
    return found


def test_a_run_for_each_file_and_for_each_version(project: Project) -> None:
    opened, watch = looking(project)
    first, second = put(project, "a.csv"), put(project, "b.csv")
    put(project, "c.txt")
    assert sorted(until(lambda: watch.look(opened.catalog), 2)) == [str(first), str(second)]
    assert watch.look(opened.catalog) == Looked()
    put(project, "a.csv", "longer text")
    assert until(lambda: watch.look(opened.catalog), 1) == [str(first)]
    first.rename(first.with_name("d.csv"))
    assert until(lambda: watch.look(opened.catalog), 1) == [str(first.with_name("d.csv"))]
    found = runs(project)
    assert {run["trigger"] for run in found} == {"watch"}
    assert {run["submitted_by"] for run in found} == {"test"}
    assert all(run["key"].startswith("watch:") for run in found)


def test_a_growing_file_has_no_run_until_it_has_stopped(project: Project) -> None:
    project.write(
        {"jobs.d/jobs.yaml": json.dumps({"jobs": {"take": {**JOB, "watch": {**JOB["watch"], "settle": "3s"}}}})}
    )
    opened, watch = looking(project)
    for number in range(50):
        with put(project, "seen.csv", "x" * number).open("a") as file:
            file.write("more")
        looked = watch.look(opened.catalog)
        assert not looked.submitted
        assert looked.again is not None
    until(lambda: watch.look(opened.catalog), 1)
    [run] = runs(project)
    assert run["params"] == {"path": str(project.path / "inbox" / "seen.csv")}
    assert watch.look(opened.catalog) == Looked()


def test_many_look_at_the_same_files_at_once(project: Project) -> None:
    for number in range(40):
        put(project, f"{number}.csv")
    barrier = threading.Barrier(4)
    made: list[tuple[str, str, str]] = []

    def look() -> None:
        opened, watch = looking(project)
        barrier.wait()

        def all_made() -> bool:
            made.extend(watch.look(opened.catalog).submitted)
            return len(made) >= 40

        wait_until(all_made, 60.0, "40 runs")

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counted = Counter(run["params"]["path"] for run in runs(project))
    assert (len(counted), set(counted.values()), len(made)) == (40, {1}, 40)


def test_ticks_a_scheduler_and_a_worker_at_once(project: Project) -> None:
    with project.start("scheduler") as scheduler, project.worker(concurrency=1) as worker:
        scheduler.wait_for("ready")
        for number in range(20):
            put(project, f"{number}.csv")
        ticks = [threading.Thread(target=lambda: project.cli("tick").check()) for _ in range(3)]
        for tick in ticks:
            tick.start()
        for tick in ticks:
            tick.join(120)
        wait_until(lambda: [run["state"] for run in runs(project)].count("SUCCESS") == 20, 60.0, "20 runs")
        put(project, "more.csv")
        wait_until(lambda: len(runs(project)) == 21, 60.0, "one more run")
        assert "Traceback" not in scheduler.stderr + worker.stderr
    counted = Counter(run["params"]["path"] for run in runs(project))
    assert set(counted.values()) == {1}


def test_one_tick_is_enough_for_a_file_that_is_there(project: Project) -> None:
    put(project, "a.csv")
    result = project.cli("tick", "--json").check()
    [made] = json.loads(result.stdout)["files"]
    assert made["path"] == str(project.path / "inbox" / "a.csv")
    assert json.loads(project.cli("tick", "--json").check().stdout)["files"] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_the_submission(project: Project, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(project, "a.csv")
    put(project, "b.csv")
    child = os.fork()
    if child == 0:

        def dies(store: Store, submissions: Sequence[Submission]) -> None:
            if when == "after":
                submit_each(store, submissions)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr("runner.triggers.watch.submit_each", dies)
        opened, watch = looking(project)
        while True:
            watch.look(opened.catalog)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert len(runs(project)) == (2 if when == "after" else 0)
    opened, watch = looking(project)
    if when == "before":
        until(lambda: watch.look(opened.catalog), 2)
    assert watch.look(opened.catalog) == Looked()
    assert len(runs(project)) == 2


def test_nothing_runs_twice_although_the_run_is_forgotten(project: Project) -> None:
    put(project, "a.csv")
    opened, watch = looking(project)
    until(lambda: watch.look(opened.catalog), 1)
    [run] = runs(project)
    opened.ledger.revoke(run["id"], by="test")
    opened.ledger.forget(run["id"])
    again, other = looking(project)
    assert other.look(again.catalog) == Looked()
    assert runs(project) == []


def test_the_files_of_a_paused_job_wait(project: Project) -> None:
    opened, watch = looking(project)
    project.cli("pause", "take").check()
    put(project, "a.csv")
    wait_until(lambda: watch.look(opened.catalog).again is None, 30.0, "the file to settle")
    assert runs(project) == []
    project.cli("resume", "take").check()
    until(lambda: watch.look(opened.catalog), 1)


def test_no_file_is_looked_at_where_schedules_are_off(project: Project) -> None:
    put(project, "a.csv")
    project.write({"runner.staging.yaml": "schedules: false\n"})
    result = project.cli("tick", "--json", env={"RUNNER_ENV": "staging"}).check()
    assert json.loads(result.stdout)["submitted"] == []
    assert runs(project) == []


def test_a_path_that_the_job_refuses_is_a_failure_that_can_be_seen_once(project: Project) -> None:
    params = {"path": {"type": "string", "maxLength": 3}}
    project.write({"jobs.d/jobs.yaml": json.dumps({"jobs": {"take": {**JOB, "params": params}}})})
    opened, watch = looking(project)
    put(project, "a.csv")
    until(lambda: watch.look(opened.catalog), 1)
    [run] = runs(project)
    assert (run["state"], run["reason"]) == ("FAILURE", "invalid_params")
    assert watch.look(opened.catalog) == Looked()


def test_a_name_that_is_no_text_is_a_fault_and_others_go_on(project: Project) -> None:
    (project.path / "inbox" / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    put(project, "a.csv")
    opened, watch = looking(project)
    faults: dict[str, str] = {}

    def look() -> Looked:
        looked = watch.look(opened.catalog)
        faults.update(looked.faults)
        return looked

    assert until(look, 1) == [str(project.path / "inbox" / "a.csv")]
    wait_until(lambda: bool(look().faults), 30.0, "the fault")
    assert "the name of the file is not UTF-8" in faults["take"]


def test_the_doctor_names_a_folder_that_is_not_there(project: Project) -> None:
    (project.path / "inbox").rmdir()
    result = project.cli("doctor")
    assert result.exit_code == 1
    assert "job take: watch: there is no folder" in result.stdout
