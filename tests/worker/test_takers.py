"""Takers, attacked: what they perform is bounded, none of them is lost, and none performs what is another's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import runner
from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from tests.support.deadline import wait_until
from tests.support.processes import PROC
from tests.support.project import Project, write_project
from tests.support.servers import chosen_kind, serving

WORK = textwrap.dedent(
    """
    import json, os, random, time


    def note(path, **fields):
        with open(path, "a") as notes:
            notes.write(json.dumps({"pid": os.getpid(), **fields}) + "\\n")


    def word(path="", word="", seconds=0.0):
        if path:
            note(path, word=word)
        time.sleep(seconds)
        return word


    def close_everything(path):
        note(path)
        os.closerange(3, 1024)
        time.sleep(300)


    def near_its_limit():
        time.sleep(max(0.0, random.gauss(0.2, 0.004)))
        return "y" * 2000


    def wait_for(path):
        note(path)
        while not os.path.exists(path + ".go"):
            time.sleep(0.02)
    """
)


def notes_in(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def template_of(worker: int) -> int | None:
    """Return the template of a worker: its child that has the same program. Also one that a thread has forked."""
    own = (PROC / str(worker) / "cmdline").read_bytes()
    for task in (PROC / str(worker) / "task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(OSError):
                if (PROC / pid / "cmdline").read_bytes() == own:
                    return int(pid)
    return None


def takers_of(worker: int) -> list[int]:
    template = template_of(worker)
    if template is None:
        return []
    with contextlib.suppress(OSError):
        return [int(pid) for pid in (PROC / f"{template}/task/{template}/children").read_text().split()]
    return []


def test_limits_hold_for_a_job_that_has_closed_every_descriptor(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    job = {"task": "work:close_everything", "kwargs": {"path": str(tmp_path / "notes")}, "timeout": "1s"}
    project = make_project({"closes": job, "word": {"task": "work:word"}}, {"work.py": WORK})
    with project.worker(concurrency=1):
        run = project.wait_for_state(project.submit("closes"), "FAILURE")
        assert run["reason"] == "timeout"
        project.wait_for_state(project.submit("word"), "SUCCESS")


def test_a_run_of_a_job_that_was_removed_meanwhile_times_out(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job = {"task": "work:wait_for", "kwargs": {"path": str(notes)}, "timeout": "6s"}
    project = make_project({"word": {"task": "work:word"}}, {"work.py": WORK})
    others = project.path / "jobs.d" / "others.yaml"
    others.write_text(json.dumps({"jobs": {"waits": job}}))
    with project.worker(concurrency=1) as worker:
        run_id = project.submit("waits")
        wait_until(lambda: notes_in(notes), 30.0, "the job to start")
        others.unlink()
        worker.wait_for("jobs are reloaded: removed waits")
        assert project.wait_for_state(run_id, "FAILURE", "RETRY")["reason"] == "timeout"


def test_a_signal_for_another_run_does_not_reach_the_one_that_runs(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job = {"task": "work:wait_for", "kwargs": {"path": str(notes)}, "soft_timeout": "100s", "timeout": "200s"}
    project = make_project({"waits": job}, {"work.py": WORK})
    with project.worker(concurrency=1):
        run_id = project.submit("waits")
        [note] = wait_until(lambda: notes_in(notes), 30.0, "the job to start")
        # As the soft timeout of a run before that has just ended by itself.
        os.kill(int(str(note["pid"])), signal.SIGUSR1)
        Path(f"{notes}.go").touch()
        assert project.wait_for_state(run_id, "SUCCESS", "FAILURE")["state"] == "SUCCESS"


@pytest.mark.timeout(150)
def test_a_run_that_ends_near_its_limit_has_one_outcome_and_no_other_run_has_it(
    make_project: Callable[..., Project],
) -> None:
    near = {"task": "work:near_its_limit"}
    jobs = {
        "soft": {**near, "soft_timeout": "200ms", "timeout": "100s"},
        "apart": {**near, "soft_timeout": "200ms", "timeout": "100s", "isolation": "process"},
        "hard": {**near, "timeout": "200ms"},
        "innocent": {"task": "work:word", "delivery": "at_most_once"},
    }
    project = make_project(jobs, {"work.py": WORK})
    with project.worker(concurrency=4):
        ids: dict[str, list[str]] = {name: [] for name in jobs}
        for _ in range(8):
            for name in jobs:
                made = runner.submit_many(name, [{}] * 5, project=project.path)
                ids[name] += [run.id for run in made]
        ledger = project.ledger()
        try:
            every = [run_id for run_ids in ids.values() for run_id in run_ids]
            wait_until(lambda: all(run.final for run in ledger.read(every)), 100.0, "all runs to end")
            for name, of_job in ids.items():
                outcomes = {(str(run.state), run.reason, run.attempts, run.losses) for run in ledger.read(of_job)}
                late = set() if name == "innocent" else {("FAILURE", "timeout", 1, 0)}
                assert outcomes <= {("SUCCESS", None, 1, 0)} | late, name
        finally:
            ledger.close()


def test_no_taker_is_lost_when_their_template_dies_while_it_forks_them(make_project: Callable[..., Project]) -> None:
    project = make_project({"word": {"task": "work:word"}}, {"work.py": WORK})
    with project.worker(concurrency=6, ready=False) as worker:
        worker.wait_for("runner worker ready", 60.0)
        for _ in range(3):
            former = wait_until(lambda: template_of(worker.pid), 30.0, "a template")

            def replaced(former: int = former) -> bool:
                return template_of(worker.pid) not in (None, former)

            with contextlib.suppress(ProcessLookupError):
                os.kill(former, signal.SIGKILL)
            wait_until(replaced, 30.0, "another template")
        wait_until(lambda: len(takers_of(worker.pid)) == 6, 60.0, "all takers")
        project.wait_for_state(project.submit("word"), "SUCCESS")


def test_queues_of_one_priority_take_turns_beside_an_empty_one(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    jobs = {
        name: {"task": "work:word", "queue": name, "kwargs": {"path": str(notes), "word": name}}
        for name in ("early", "later", "middle")
    }
    project = make_project(jobs, {"work.py": WORK})
    opened = Opened.open(project.path)
    for name in ("later", "middle"):
        for _ in range(6):
            submit(opened, name, {}, trigger="api")
    with project.worker("-Q", "early,later,middle", concurrency=1):
        wait_until(lambda: len(notes_in(notes)) == 12, 60.0, "all runs")
    words = [note["word"] for note in notes_in(notes)]
    assert words in (["later", "middle"] * 6, ["middle", "later"] * 6)


def test_a_batch_wakes_a_taker_for_each_of_its_runs(make_project: Callable[..., Project], tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    job = {"task": "work:wait_for", "kwargs": {"path": str(notes)}}
    project = make_project({"waits": job}, {"work.py": WORK})
    with project.worker(concurrency=4):
        ledger = project.ledger()
        client = project.redis()
        try:
            ids = [run.id for run in runner.submit_many("waits", [{}] * 4, project=project.path)]
            # A ring for each; those that were not heard yet are in the list.
            wait_until(lambda: len(notes_in(notes)) == 4, 30.0, "all four to run at once")
            Path(f"{notes}.go").touch()
            wait_until(lambda: all(run.state == "SUCCESS" for run in ledger.read(ids)), 30.0, "all runs")
        finally:
            client.close()
            ledger.close()


CHANGES, RUNS = 20, 25


@pytest.mark.timeout(150)
def test_each_run_is_performed_with_the_spec_that_it_was_submitted_with_or_a_later_one(
    make_project: Callable[..., Project],
) -> None:
    project = make_project("", {"work.py": WORK})
    path = project.path / "jobs.d" / "word.yaml"
    submitted: list[tuple[str, int]] = []

    def write(version: int) -> None:
        beside = path.with_name(".word.swp")
        beside.write_text(json.dumps({"jobs": {"word": {"task": "work:word", "kwargs": {"word": f"{version}"}}}}))
        beside.rename(path)

    write(0)
    with project.worker(concurrency=4) as worker:
        for version in range(1, CHANGES + 1):
            write(version)
            opened = Opened.open(project.path)
            for _ in range(RUNS):
                submitted.append((submit(opened, "word", {}, trigger="api").id, version))
        ledger = project.ledger()
        try:
            ids = [run_id for run_id, _ in submitted]
            wait_until(lambda: all(run.final for run in ledger.read(ids)), 100.0, "all runs to end")
            runs = {run.id: run for run in ledger.read(ids)}
        finally:
            ledger.close()
        assert {(run.state, run.attempts) for run in runs.values()} == {("SUCCESS", 1)}
        early = [(version, runs[run_id].result) for run_id, version in submitted if int(runs[run_id].result) < version]
        assert not early
        assert "Traceback" not in worker.log


def test_a_worker_takes_from_hundreds_of_queues(make_project: Callable[..., Project]) -> None:
    names = [f"{number:03d}-{'q' * 56}" for number in range(500)]
    project = make_project({"word": {"task": "work:word", "queue": names[-1]}}, {"work.py": WORK})
    with project.worker("-Q", ",".join(names), concurrency=1):
        project.wait_for_state(project.submit("word"), "SUCCESS")


def test_two_stops_at_once_lose_nothing(make_project: Callable[..., Project]) -> None:
    project = make_project({"word": {"task": "work:word"}}, {"work.py": WORK})
    opened = Opened.open(project.path)
    ids: list[str] = []
    ended = threading.Event()

    def submit_steadily() -> None:
        while not ended.is_set():
            ids.append(submit(opened, "word", {}, trigger="api").id)

    thread = threading.Thread(target=submit_steadily, daemon=True)
    with project.worker(concurrency=2) as worker:
        thread.start()
        try:
            wait_until(lambda: len(ids) > 20, 30.0, "runs")
            worker.signal(signal.SIGTERM)
            worker.signal(signal.SIGTERM)
            assert worker.wait(60.0) == 0
        finally:
            ended.set()
            thread.join(30.0)
    ledger = project.ledger()
    try:
        # Whatever the worker had is settled, or given back uncharged: nothing waits for a lease to run out.
        assert {run.state for run in ledger.read(ids)} <= {"SUCCESS", "PENDING", "RETRY"}
        assert not [run.id for run in ledger.read(ids) if run.losses]
    finally:
        ledger.close()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_takers_of_each_kind_go_on_after_a_lost_connection(tmp_path: Path, pool: str) -> None:
    with serving(chosen_kind(), tmp_path / "server") as server:
        project = write_project(tmp_path / "project", server.url, {"word": {"task": "work:word"}}, {"work.py": WORK})
        with project.worker("-P", pool) as worker:
            project.wait_for_state(project.submit("word"), "SUCCESS")
            seen = len(worker.lines())
            client = server.client
            client.client_kill_filter(_type="normal", skipme=True)
            client.close()
            worker.wait_for("runner worker ready", after=seen)
            ids = [run.id for run in runner.submit_many("word", [{}] * 50, project=project.path)]
            for run_id in ids:
                project.wait_for_state(run_id, "SUCCESS")
            assert worker.terminate() == 0


def test_a_taker_that_waits_for_a_replica_is_not_ended(make_project: Callable[..., Project]) -> None:
    project = make_project({"word": {"task": "work:word"}}, {"work.py": WORK}, {"durability": "replicated"})
    with project.worker(concurrency=1) as worker:
        taker = wait_until(lambda: takers_of(worker.pid), 30.0, "a taker")
        # There is no replica: each write is confirmed by nobody, after some seconds.
        message = project.cli("submit", "word").check(69).stderr
        run_id = message.partition("no replica has run ")[2].split()[0]
        project.wait_for_state(run_id, "SUCCESS")
        worker.wait_for(f"run {run_id}: no replica has its outcome yet")
        assert takers_of(worker.pid) == taker
        assert "its lease was lost" not in worker.log
