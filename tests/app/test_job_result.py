"""Results as Celery's own classes read them through the generated app, and as the Python API does."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from celery.contrib.abortable import AbortableAsyncResult
from celery.exceptions import TaskRevokedError

import runner
from runner.actions.find import list_runs
from runner.api import open_project
from runner.app.factory import RunnerApp, create_app
from runner.errors import (
    InvalidParams,
    JobDisabled,
    NotFinished,
    ResultExpired,
    RunFailed,
    RunRevoked,
    UnknownJob,
    UnknownRun,
    UsageError,
    WaitTimeout,
)
from runner.model.run_query import RunQuery
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.work import FILES, JOBS

SOME: dict[str, Any] = {
    "shared": JOBS["shared"],
    "echo": JOBS["echo"],
    "value-error": JOBS["value-error"],
    "sleep": JOBS["sleep"],
    "short-lived": {**JOBS["shared"], "retention": {"result": "1s"}},
    "disabled": {**JOBS["shared"], "enabled": False},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Iterator[Project]:
    from tests.support.project import write_project

    project = write_project(tmp_path_factory.mktemp("results") / "p", redis_server.url, SOME, FILES)
    with project.worker(concurrency=4):
        yield project


@pytest.fixture
def app(served: Project) -> Iterator[RunnerApp]:
    yield create_app(served.settings, served.catalog)
    # Celery's results unsubscribe when they are collected, which waits forever once the server is gone.
    gc.collect()


def test_delay_and_get(app: RunnerApp) -> None:
    assert app.tasks["shared"].delay().get(timeout=30) == 2


def test_states_are_true(app: RunnerApp) -> None:
    result = app.tasks["sleep"].apply_async(kwargs={"seconds": 1})
    seen = set()

    def ended() -> bool:
        seen.add(app.AsyncResult(result.id).state)
        return "SUCCESS" in seen

    wait_until(ended, 30.0, "the run ends")
    assert {"STARTED", "SUCCESS"} <= seen <= {"PENDING", "STARTED", "SUCCESS"}


def test_an_exception_is_raised_by_get(app: RunnerApp) -> None:
    result = app.tasks["value-error"].delay()
    with pytest.raises(ValueError, match="wrong value"):
        result.get(timeout=30)
    assert result.state == "FAILURE"
    assert "wrong value" in result.traceback


def test_a_revoked_run_raises(app: RunnerApp) -> None:
    result = app.tasks["shared"].apply_async(countdown=600)
    assert result.state == "PENDING"
    app.backend.ledger.revoke(result.id, by="me")
    with pytest.raises(TaskRevokedError):
        result.get(timeout=30)
    assert app.AsyncResult(result.id).state == "REVOKED"


def test_unknown_is_told_from_pending(app: RunnerApp) -> None:
    unknown, queued = app.AsyncResult("never-submitted"), app.tasks["shared"].apply_async(countdown=600)
    assert (unknown.state, unknown.exists()) == ("PENDING", False)
    assert (queued.state, queued.exists()) == ("PENDING", True)
    with pytest.raises(UnknownRun):
        unknown.get(timeout=30)


def test_an_expired_result_is_told_from_none(app: RunnerApp) -> None:
    result = app.tasks["short-lived"].delay()
    assert result.get(timeout=30) == 2
    wait_until(lambda: app.backend.ledger.get(result.id).result_expired, 30.0, "the result expires")
    late = app.AsyncResult(result.id)
    assert (late.state, late.exists()) == ("SUCCESS", True)
    with pytest.raises(ResultExpired):
        late.get(timeout=30)


def test_only_declared_jobs_with_valid_params_can_be_sent(app: RunnerApp) -> None:
    with pytest.raises(UnknownJob):
        app.send_task("celery.backend_cleanup")
    with pytest.raises(UnknownJob):
        app.send_task("os.system", kwargs={"command": "true"})
    with pytest.raises(InvalidParams):
        app.send_task("echo", kwargs={"x": "text"})
    with pytest.raises(InvalidParams):
        app.send_task("echo", args=[1])
    with pytest.raises(JobDisabled):
        app.send_task("disabled")


def test_submitting_by_task_has_the_trigger_celery(app: RunnerApp) -> None:
    result = app.tasks["shared"].delay()
    assert app.backend.ledger.get(result.id).trigger == "celery"


def test_forgetting_through_celery(app: RunnerApp) -> None:
    result = app.tasks["shared"].delay()
    result.get(timeout=30)
    result.forget()
    assert not app.AsyncResult(result.id).exists()


def test_aborting_is_refused_since_no_run_hears_of_it(app: RunnerApp) -> None:
    result = app.tasks["shared"].delay()
    with pytest.raises(UsageError, match="abort is not supported"):
        AbortableAsyncResult(result.id, app=app).abort()


def test_a_job_can_be_called_as_a_function(app: RunnerApp) -> None:
    assert app.tasks["shared"]() == 2


# -- the Python API


def ids_of_shared(served: Project) -> set[str]:
    """Return the ids of all runs of job ``shared``."""
    return {run.id for run in list_runs(open_project(served.path), RunQuery(job="shared"), limit=1000).runs}


def test_the_api_submits_waits_and_reads(served: Project) -> None:
    run = runner.submit("echo", {"x": 3}, project=served.path)
    assert run.wait(30).state == "SUCCESS"
    assert run.result["kwargs"]["x"] == 3
    assert run.document()["trigger"] == "api"
    assert runner.get_run(run.id[:12], project=served.path).id == run.id
    assert run.id in repr(run)


def test_the_api_raises_on_request(served: Project) -> None:
    failed = runner.submit("value-error", project=served.path)
    with pytest.raises(RunFailed, match="wrong value"):
        failed.wait(30, check=True)
    revoked = runner.submit("shared", delay=600, project=served.path)
    revoked.revoke(comment="no")
    with pytest.raises(RunRevoked):
        revoked.wait(30, check=True)
    with pytest.raises(UnknownRun):
        runner.get_run("never-submitted", project=served.path)


def test_the_api_waits_a_bounded_time(served: Project) -> None:
    run = runner.submit("sleep", {"seconds": 30}, project=served.path)
    with pytest.raises(WaitTimeout):
        run.wait(0.2)
    with pytest.raises(NotFinished):
        run.forget()
    run.revoke(terminate=True)
    assert run.wait(30).reason == "terminated"
    run.forget()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay": 1e12}, "delay: is longer than ten years"),
        ({"delay": float("nan")}, "delay: nan is not a number of seconds"),
        ({"delay": float("-inf")}, "delay: a negative number is too short, write 0s or more"),
        ({"expires": 1e13}, "longer than ten years"),
        ({"expires": float("nan")}, "expires: nan is not a number of seconds"),
        ({"priority": 2.0}, "priority: expected a whole number from 0 to 9, got a number"),
        ({"priority": 10}, "priority: 10 is out of range, write 0 to 9"),
        ({"at": datetime(2099, 1, 1)}, "no offset"),
        ({"at": datetime(2099, 1, 1, tzinfo=UTC), "delay": 1}, "use one of them|both say"),
    ],
    ids=str,
)
def test_what_could_not_be_read_back_is_not_recorded(served: Project, options: dict[str, Any], message: str) -> None:
    before = ids_of_shared(served)
    with pytest.raises(UsageError, match=message):
        runner.submit("shared", project=served.path, **options)
    assert ids_of_shared(served) == before


def test_the_api_finds_runs_as_the_command_line_does(served: Project) -> None:
    run = runner.submit("shared", project=served.path)
    assert runner.get_run("@shared", project=served.path).id == run.id
    for text in ("", "@"):
        with pytest.raises(UsageError, match="is not an id"):
            runner.get_run(text, project=served.path)


def test_a_key_gives_the_same_run(served: Project) -> None:
    key = str(time.time())
    first, second = (runner.submit("shared", key=key, project=served.path) for _ in range(2))
    assert first.id == second.id


def test_outside_of_a_run_the_current_run_is_inert() -> None:
    current = runner.current_run()
    assert (current.id, current.job, current.attempt, dict(current.params)) == (None, None, 0, {})
    current.progress(0.5, "half")
    with pytest.raises(ValueError, match=r"0\.0 to 1\.0"):
        current.progress(2.0)


def test_importing_runner_imports_neither_celery_nor_redis() -> None:
    import subprocess
    import sys

    code = "import sys, runner; runner.current_run(); print({'celery', 'redis', 'kombu', 'yaml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_job_may_change_its_arguments_without_reaching_the_next_run(make_project: Callable[..., Project]) -> None:
    module = "def spoil(given):\n    given.append(len(given))\n    return given\n"
    project = make_project({"spoil": {"task": "spoilt:spoil", "kwargs": {"given": [9]}}}, {"spoilt.py": module})
    with project.worker(concurrency=1):
        for _ in range(3):
            run_id = project.submit("spoil")
            assert project.wait_for_state(run_id, "SUCCESS")["result"] == [9, 1]
