"""Workers that die, stop, start and refuse."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import CELERY
from tests.support.deadline import wait_until
from tests.support.processes import is_alive
from tests.support.project import Project, celery_cli, clean_environment
from tests.support.running import Running
from tests.support.work import FILES, JOBS

SLOW = {name: JOBS[name] for name in ("sleep", "family", "shared")}
LEASE = {"worker": {"lease": "2s", "shutdown_grace": "20s"}}


def read(notes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in notes.read_text().splitlines()]


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(SLOW, FILES, LEASE)


def test_a_killed_workers_run_starts_again_within_a_lease(project: Project, notes: Path) -> None:
    run_id = project.submit("sleep", "-p", "seconds=5", "-p", f"notes={notes}")
    with project.worker(concurrency=1) as first, project.worker(concurrency=1) as second:
        wait_until(lambda: notes.read_text(), 30.0, "the run starts")
        owner = project.document(run_id)["worker"]
        victim = first if f"-{first.pid}-" in owner else second
        victim.kill()
        done = project.wait_for_state(run_id, "SUCCESS", "FAILURE", deadline=40.0)
    assert (done["state"], done["losses"], done["attempts"]) == ("SUCCESS", 1, 2)
    assert not is_alive(read(notes)[0]["pid"])


def test_what_a_killed_worker_had_not_started_is_not_charged(project: Project, notes: Path) -> None:
    first = project.submit("sleep", "-p", "seconds=1", "-p", f"notes={notes}")
    others = [project.submit("shared") for _ in range(6)]
    with project.worker(concurrency=1) as worker:
        wait_until(lambda: notes.read_text(), 30.0, "the first starts")
        worker.kill()
    with project.worker(concurrency=2):
        for run_id in (first, *others):
            done = project.wait_for_state(run_id, "SUCCESS", "FAILURE", deadline=40.0)
            assert (done["state"], done["losses"]) == ("SUCCESS", 1 if run_id == first else 0)


def test_a_killed_workers_processes_die_with_it(project: Project, notes: Path) -> None:
    project.submit("family", "-p", f"notes={notes}")
    with project.worker(concurrency=1) as worker:
        wait_until(lambda: notes.read_text(), 30.0, "the family lives")
        noted = read(notes)[0]
        worker.kill()
        wait_until(
            lambda: not any(is_alive(noted[name]) for name in ("pid", "child", "grandchild")), 20.0, "all are dead"
        )


def test_sigterm_lets_what_runs_end_and_gives_back_the_rest(project: Project, notes: Path) -> None:
    running = project.submit("sleep", "-p", "seconds=2", "-p", f"notes={notes}")
    waiting = [project.submit("shared") for _ in range(4)]
    with project.worker(concurrency=1) as worker:
        wait_until(lambda: notes.read_text(), 30.0, "the run starts")
        assert worker.terminate(20.0) == 0
    done = project.document(running)
    assert (done["state"], done["losses"], done["attempts"]) == ("SUCCESS", 0, 1)
    for run_id in waiting:
        left = project.document(run_id)
        assert (left["state"], left["losses"]) in {("PENDING", 0), ("SUCCESS", 0)}
    client = project.redis()
    assert client.hlen(f"{project.namespace}:claims") == 0
    client.close()


@pytest.mark.parametrize("signals", [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGTERM]], ids=["quit", "term-term"])
def test_a_hand_back_is_uncharged_and_starts_elsewhere(project: Project, notes: Path, signals: list[int]) -> None:
    run_id = project.submit("sleep", "-p", "seconds=3", "-p", f"notes={notes}")
    with project.worker(concurrency=1) as worker:
        wait_until(lambda: notes.read_text(), 30.0, "the run starts")
        for number in signals:
            worker.signal(number)
            worker.wait_for("stopping: no new work", 20.0)
        assert worker.wait(20.0) == 0
    left = project.document(run_id)
    assert (left["state"], left["losses"]) == ("RETRY", 0)
    assert not is_alive(read(notes)[0]["pid"])
    with project.worker(concurrency=1):
        done = project.wait_for_state(run_id, "SUCCESS", deadline=30.0)
    assert (done["losses"], done["retries"], done["attempts"]) == (0, 0, 2)


def test_a_run_revoked_with_no_worker_online_never_starts(project: Project, notes: Path) -> None:
    revoked = project.submit("sleep", "-p", f"notes={notes}")
    behind = project.submit("shared")
    project.cli("revoke", revoked).check()
    with project.worker(concurrency=1):
        project.wait_for_state(behind, "SUCCESS")
    assert project.document(revoked)["state"] == "REVOKED"
    assert notes.read_text() == ""


def test_an_expired_run_never_starts(project: Project, notes: Path) -> None:
    expired = project.submit("sleep", "-p", f"notes={notes}", "--expires", "50ms")
    behind = project.submit("shared")
    wait_until(lambda: project.document(expired)["state"] == "REVOKED", 20.0, "it expires")
    with project.worker(concurrency=1):
        project.wait_for_state(behind, "SUCCESS")
    assert project.document(expired)["reason"] == "expired"
    assert notes.read_text() == ""


def test_a_delayed_run_waits_in_redis_and_does_not_start_before_its_time(project: Project) -> None:
    # Long enough for a busy machine to look at it meanwhile.
    run_id = project.submit("shared", "--in", "6s")
    assert project.document(run_id)["detail"].startswith("scheduled for ")
    with project.worker(concurrency=1):
        done = project.wait_for_state(run_id, "SUCCESS")
    assert _moment(done["started_at"]) >= _moment(done["eta"])


def _moment(text: str) -> float:
    from runner.model.run import to_datetime

    return to_datetime(text).timestamp()


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize("option", [{"timeout": "5s"}, {"soft_timeout": "5s"}, {"env": {"A": "b"}}], ids=str)
def test_pools_that_cannot_honor_an_option_refuse_by_name(
    make_project: Callable[..., Project], pool: str, option: dict[str, Any]
) -> None:
    project = make_project({"needy": {"task": "work:shared", **option}}, FILES)
    with _celery(project, "worker", "-P", pool) as worker:
        assert worker.wait(40.0) != 0
        assert f"the {pool.removesuffix('s')} pool cannot honor" in worker.stderr.replace("threads", "thread")
        assert f"needy ({next(iter(option))})" in worker.stderr


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools_run_jobs_that_ask_for_nothing_special(make_project: Callable[..., Project], pool: str) -> None:
    project = make_project({"shared": JOBS["shared"]}, FILES)
    with _celery(project, "worker", "-P", pool, "-l", "INFO") as worker:
        worker.wait_for("runner worker ready", 40.0)
        run_id = project.submit("shared")
        assert project.wait_for_state(run_id, "SUCCESS")["result"] == 2


RELEASED = """
import time
from pathlib import Path

def hold(fails):
    Path("holding").touch()
    end = time.monotonic() + 60
    while not Path("release").exists() and time.monotonic() < end:
        time.sleep(0.02)
    if fails:
        raise ConnectionError("again")
    return "held"
"""


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize(("fails", "follows"), [(False, ("SUCCESS", None)), (True, ("REVOKED", "cancelled"))])
def test_terminate_says_that_a_pool_cannot_end_a_running_job(
    make_project: Callable[..., Project], pool: str, fails: bool, follows: tuple[str, str | None]
) -> None:
    job = {"task": "slow:hold", "kwargs": {"fails": fails}, "retry": {"max_retries": 3, "delay": "1s"}}
    project = make_project({"hold": job}, {"slow.py": RELEASED})
    with project.worker("-P", pool, concurrency=1):
        run_id = project.submit("hold")
        wait_until((project.path / "holding").exists, 30.0, "the job runs")
        for _ in range(2):
            done = project.cli("revoke", run_id, "--terminate", "--comment", "enough").check(5)
            assert f"a {pool.removesuffix('s')} pool" in done.stderr.replace("threads", "thread")
        asked = project.document(run_id)
        assert (asked["state"], asked["revocation"]["comment"]) == ("STARTED", "enough")
        assert "terminating" not in asked["detail"]
        # What waits is revoked as ever.
        waits = project.submit("hold")
        project.cli("revoke", waits, "--terminate").check()
        project.write({"release": ""})
        ended = project.wait_for_state(run_id, "SUCCESS", "REVOKED", "RETRY", "FAILURE")
        assert (ended["state"], ended["reason"]) == follows


def test_setup_is_called_before_jobs_are_imported(make_project: Callable[..., Project]) -> None:
    boot = "import os\n\ndef setup():\n    os.environ['BOOTED'] = 'yes'\n"
    late = "import os\n\nBOOTED = os.environ['BOOTED']\n\ndef run():\n    return BOOTED\n"
    project = make_project({"late": {"task": "late:run"}}, {"boot.py": boot, "late.py": late}, {"setup": "boot:setup"})
    run_id = project.submit("late")
    with project.worker(concurrency=1):
        assert project.wait_for_state(run_id, "SUCCESS", "FAILURE")["result"] == "yes"


def test_a_setup_that_fails_stops_the_worker_with_a_clear_error(make_project: Callable[..., Project]) -> None:
    files = {"boot.py": "def setup():\n    raise RuntimeError('no database')\n", **FILES}
    project = make_project({"shared": JOBS["shared"]}, files, {"setup": "boot:setup"})
    done = project.cli("worker").check(2)
    assert "no database" in done.stderr
    assert "Traceback" not in done.stderr


def test_params_are_checked_again_in_the_worker(make_project: Callable[..., Project]) -> None:
    job: dict[str, Any] = {"task": "work:echo", "params": {"x": {"type": "integer"}}}
    project = make_project({"echo": job}, FILES)
    run_id = project.submit("echo", "-p", "x=1")
    job["params"] = {"x": {"type": "string"}}
    project.write({"jobs.d/jobs.yaml": json.dumps({"jobs": {"echo": job}})})
    with project.worker(concurrency=1):
        done = project.wait_for_state(run_id, "SUCCESS", "FAILURE")
    assert (done["state"], done["reason"]) == ("FAILURE", "invalid_params")


def test_a_run_of_a_job_the_worker_does_not_know_is_handed_back(make_project: Callable[..., Project]) -> None:
    project = make_project({"gone": JOBS["shared"], "shared": JOBS["shared"]}, FILES)
    gone = project.submit("gone")
    project.write({"jobs.d/jobs.yaml": json.dumps({"jobs": {"shared": JOBS["shared"]}})})
    behind = project.submit("shared")
    with project.worker(concurrency=1):
        project.wait_for_state(behind, "SUCCESS")
        left = project.document(gone)
        assert (left["state"], left["losses"], left["attempts"]) == ("PENDING", 0, 0)
        assert "not declared" in left["detail"]
    project.write({"jobs.d/jobs.yaml": json.dumps({"jobs": {"gone": JOBS["shared"]}})})
    with project.worker(concurrency=1):
        assert project.wait_for_state(gone, "SUCCESS", deadline=30.0)["attempts"] == 1


def _celery(project: Project, *args: str) -> Running:
    environment = clean_environment({"RUNNER_PROJECT": str(project.path)})
    return Running([*CELERY, *args], cwd=project.path, env=environment)


def test_broadcasts_that_act_are_refused(project: Project) -> None:
    with project.worker(concurrency=1) as worker:
        for command in (
            ["shutdown"],
            ["pool_shrink", "1"],
            ["cancel_consumer", "default"],
            ["rate_limit", "shared", "1/h"],
        ):
            celery_cli("control", *command, cwd=project.path, env={"RUNNER_PROJECT": str(project.path)})
        run_id = project.submit("shared")
        assert project.wait_for_state(run_id, "SUCCESS")["result"] == 2
        assert worker.process.poll() is None
        os.kill(worker.pid, 0)


FRAIL = """
import os, signal
from celery import signals

def kill_the_first(**_):
    try:
        os.open(os.environ["FRAIL"], os.O_CREAT | os.O_EXCL)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

def prepare():
    signals.worker_process_init.connect(kill_the_first, weak=False)
"""


def test_a_worker_outlives_a_child_that_is_killed_while_it_starts(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(SLOW, {**FILES, "frail.py": FRAIL}, {"setup": "frail:prepare"})
    run_id = project.submit("shared")
    with project.worker(concurrency=1, env={"FRAIL": str(tmp_path / "killed")}) as worker:
        assert project.wait_for_state(run_id, "SUCCESS", deadline=40.0)["losses"] == 0
        assert "signal 9" in worker.log


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_worker_is_listed_once_it_says_that_it_is_ready(make_project: Callable[..., Project], pool: str) -> None:
    project = make_project({"add": {"task": "operator:add", "args": [1, 2]}})
    ledger = project.ledger()
    for _ in range(3):
        with project.worker("--pool", pool, concurrency=1):
            assert len(ledger.workers()) == 1
    ledger.close()
