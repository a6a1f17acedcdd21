"""``runner archive``, workers that copy, and what doctor, metrics, and forget say and do."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from runner.archive.migrations import VERSION
from runner.archive.reader import Reader
from runner.archive.store import Archive
from runner.model.run import Run
from tests.cli.jobs import FILES
from tests.cli.test_doctor import checks
from tests.cli.test_metrics import at, samples
from tests.support.archives import archive_url, postgres_url
from tests.support.deadline import wait_until
from tests.support.project import Project

__all__ = ["archive_url", "postgres_url"]

JOBS = """jobs:
  hello: {task: "clijobs:hello"}
  fails: {task: "clijobs:fails"}
  long: {task: "naps:nap"}
"""


@pytest.fixture
def project(make_project: Callable[..., Project], archive_url: str) -> Project:
    return make_project(JOBS, FILES, settings={"archive_url": archive_url})


def archived(project: Project, run_id: str) -> Run | None:
    archive = Archive.open(str(project.settings.archive_url))
    try:
        return Reader(archive, project.namespace).get(run_id)
    finally:
        archive.close()


def status(project: Project) -> dict[str, Any]:
    return dict(project.cli("archive", "--status", "--json").check().json)


def flush(project: Project) -> None:
    client = project.redis()
    client.delete(*client.scan_iter(f"{project.namespace}:*"))
    client.close()


def test_a_worker_copies_what_has_ended(project: Project) -> None:
    with project.worker() as worker:
        run_id = project.cli("submit", "hello", "--wait").check().id
        failed = project.cli("submit", "fails", "--wait").check(1).id
        wait_until(lambda: archived(project, failed) and archived(project, run_id), 30.0, "both are copied")
        found = archived(project, run_id)
        assert found is not None
        assert found.document() == {**project.document(run_id), "archived": True}
        report = status(project)
        assert report["copied"] == 2
        assert report["waiting"] == 0
        assert report["next"] is None
        assert report["copier"] == project.cli("workers", "--json").check().json[0]["name"]
        assert checks(project.cli("doctor", "--json"))["archive"]["level"] == "ok"
        measured = samples(project.cli("metrics").check().stdout)
        assert at(measured, "runner_archived_runs_total") == 2
        assert at(measured, "runner_archive_waiting") == 0
        assert at(measured, "runner_archive_lag_seconds") == 0
        assert "finished runs are copied to" in worker.log
    # One that is forgotten is gone from the archive too, and one that only the archive knows as well.
    project.cli("forget", run_id).check()
    assert archived(project, run_id) is None
    flush(project)
    assert archived(project, failed) is not None
    assert project.cli("forget", failed[:10]).check().stderr == f"run {failed} is forgotten\n"
    assert archived(project, failed) is None
    project.cli("forget", failed).check(4)


def test_a_database_that_does_not_answer_delays_no_lease(make_project: Callable[..., Project]) -> None:
    """It takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/x"
        naps = {"naps.py": "import time\n\n\ndef nap():\n    time.sleep(4)\n"}
        project = make_project(JOBS, {**FILES, **naps}, settings={"archive_url": url, "worker": {"lease": "1s"}})
        with project.worker() as worker:
            done = project.wait_for_state(project.submit("long"), "SUCCESS", "FAILURE")
            assert (done["state"], done["attempts"], done["losses"]) == ("SUCCESS", 1, 0)
            worker.wait_for("finished runs are not copied", 30.0)


def test_the_command_copies_where_workers_shall_not(make_project: Callable[..., Project], archive_url: str) -> None:
    settings = {"archive_url": archive_url, "worker": {"archive": False}}
    project = make_project(JOBS, FILES, settings=settings)
    assert status(project)["schema"] == 0
    with project.worker() as worker:
        run_id = project.cli("submit", "hello", "--wait").check().id
        assert "finished runs" not in worker.log
    assert status(project)["waiting"] == 1
    shown = project.cli("archive", "--status").check().stdout
    assert "nobody copies now" in shown
    assert "1 run, for " in shown
    assert project.cli("archive").check().stderr == "copied 1 run\n"
    assert archived(project, run_id) is not None
    assert project.cli("archive", "--json").check().json == {"copied": 0, "removed": 0, "refused": []}
    assert project.cli("archive", "--again", "--json").check().json["copied"] == 1
    with project.start("archive", "--follow") as follower:
        follower.wait_for("finished runs are copied to", 30.0)
        other = project.submit("hello")
        project.cli("revoke", other).check()
        wait_until(lambda: archived(project, other), 30.0, "the revoked run is copied")
        assert status(project)["copier"].startswith("archive-")


def test_what_is_wrong_is_said_with_its_remedy(make_project: Callable[..., Project], archive_url: str) -> None:
    without = make_project(JOBS, FILES, name="without")
    stderr = without.cli("archive").check(2).stderr
    assert stderr.startswith("error: this project has no archive\nhint: write archive_url:")
    assert "archive" not in checks(without.cli("doctor", "--json"))
    without.cli("archive", "--follow", "--status").check(2)

    project = make_project(JOBS, FILES, settings={"archive_url": archive_url})
    project.cli("archive").check()
    archive = Archive.open(archive_url)
    with archive.writing() as connection:
        connection.exec_driver_sql(f"UPDATE runner_schema SET version = {VERSION + 1}")
    archive.close()
    assert f"has version {VERSION + 1} of the archive's schema" in project.cli("archive").check(69).stderr
    found = checks(project.cli("doctor", "--json").check(1))["archive"]
    assert (found["level"], found["remedy"]) == ("problem", "update the runner")

    away = make_project(JOBS, FILES, settings={"archive_url": "postgresql://u:geheim@127.0.0.1:1/x"}, name="away")
    for words in (("archive",), ("archive", "--status"), ("doctor",)):
        result = away.cli(*words)
        assert result.exit_code == (1 if words == ("doctor",) else 69)
        assert "cannot be used" in result.stdout + result.stderr
        assert "geheim" not in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
