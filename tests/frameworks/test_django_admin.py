"""Runs in Django's own database and admin: with a real PostgreSQL, before and after Redis was emptied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.archive.rows import row_of
from runner.archive.store import Archive
from runner.ledger.run_log import RunLog
from runner.ledger.search import search
from runner.model.run import State
from runner.model.run_query import RunQuery
from tests.support.postgres import USER, postgres
from tests.support.project import Project, write_project
from tests.support.scripts import python
from tests.support.servers import chosen_kind, serving

HERE = Path(__file__).parent

pytestmark = pytest.mark.timeout(400)  # the first one does the work of all, on a machine that may be busy


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Enqueue, run, archive, and go through the admin: once, for all tests of this file."""
    # A server of its own: it is emptied.
    with serving(chosen_kind(), tmp_path_factory.mktemp("srv")) as redis, postgres() as server:
        project = write_project(tmp_path_factory.mktemp("office") / "p", redis.url)
        shutil.copytree(HERE / "django_office", project.path, dirs_exist_ok=True)
        settings = (project.path / "runner.yaml").read_text().replace("env:OFFICE_RUNS_URL", redis.url)
        url = f"postgresql://{USER}@localhost:{server.port}/postgres"
        project.write({"runner.yaml": f"{settings}archive_url: {url}\nnamespace: {project.namespace}\n"})
        project.environment.update(
            OFFICE_PORT=str(server.port),
            OFFICE_DATABASE="postgres",
            OFFICE_APPS="runner.django",
            RUNNER_PROJECT=str(project.path),
        )
        bare = "redis_url: redis://localhost:1/0\n"  # nobody asks it
        project.write({"bare/runner.yaml": bare, "bare/jobs.d/jobs.yaml": "jobs: {}\n"})
        prepared = python(project, "prepare.py")
        with project.worker("-Q", "default,counting", concurrency=1):
            for name in ("done", "failed"):
                project.wait_for_state(prepared[name], "SUCCESS", "FAILURE")
        archive(project, url)
        yield {**prepared, **python(project, "tour.py", prepared["done"], prepared["failed"], prepared["waiting"])}


def archive(project: Project, url: str) -> None:
    """Copy the runs that have ended."""
    ledger, kept = project.ledger(), Archive.open(url)
    runs = search(ledger, RunQuery(state=[State.SUCCESS, State.FAILURE]), limit=100).runs
    kept.put(project.namespace, [row_of(run, list(RunLog(ledger, run.id).lines())) for run in runs])
    kept.close()
    ledger.close()


def test_the_list_shows_runs_of_the_archive_and_of_the_ledger(tour: dict[str, Any]) -> None:
    assert tour["checks"] == []
    assert tour["list"] == [True, True, True]
    assert tour["live"]
    assert tour["failed only"] == [False, True, False]
    assert tour["found"] == [True, False]


def test_a_check_warns_if_the_archive_is_elsewhere(tour: dict[str, Any]) -> None:
    other = ["runner.W005"]
    fine: list[str] = []
    assert tour["others"] == {
        "another database": other,
        "another server": other,
        "another port": other,
        "this host": fine,
        "a socket": fine,
        "a service": fine,  # nobody can tell
        "SQLite": other,
        "MySQL": ["runner.W004"],
        "no archive": ["runner.W003"],
        "no project": ["runner.W002"],
    }


def test_the_admin_shows_runs_after_redis_was_emptied(tour: dict[str, Any]) -> None:
    assert tour["flushed list"] == [True, True]
    assert tour["flushed page"] == [True, True, True]
    # What a job says is shown as text.
    assert tour["flushed log"] == [True, True, False]
    assert tour["unknown"] == "302"


def test_a_result_can_be_read_after_redis_was_emptied(tour: dict[str, Any]) -> None:
    assert tour["flushed result"] == ["SUCCESSFUL", {"count": 0, "note": "<b>bold</b>"}, 2]


def test_the_model_has_what_the_run_document_has(tour: dict[str, Any]) -> None:
    params = {"least": 0, "note": "<b>bold</b>"}
    assert tour["model"] == ["SUCCESS", {"count": 0, "note": "<b>bold</b>"}, params, True, True, True]
    assert tour["read-only"] == 4
    assert tour["deleted"] == ["403", "403"]


def test_the_buttons_are_for_those_who_may_press_them(tour: dict[str, Any]) -> None:
    revoke, again = ["Revoke", "Revoke and terminate"], ["Run again"]
    assert tour["buttons"] == {
        "boss": {"done": again, "waiting": revoke},
        "viewer": {"done": [], "waiting": []},
        "operator": {"done": again, "waiting": revoke},
    }
    assert tour["nobody"] == ["403", "403"]


def test_nobody_else_presses_them(tour: dict[str, Any]) -> None:
    assert tour["refused"] == [[403], [403], [403]]
    # Nor a form of another site, nor a link.
    assert (tour["forged"], tour["by link"]) == (403, 405)
    assert tour["still"] == "PENDING"


def test_a_run_is_revoked(tour: dict[str, Any]) -> None:
    status, message = tour["revoked"]
    assert (status, message) == (302, f"Run {tour['waiting']} was revoked.")
    assert tour["state"] == ["REVOKED", "operator"]
    assert "nothing was left to revoke" in tour["again"][1]
    assert ["operator", tour["waiting"], "Revoked"] in tour["noted"]


def test_a_run_that_the_ledger_has_forgotten_is_run_again(tour: dict[str, Any]) -> None:
    status, message = tour["rerun"]
    assert status == 302
    assert "was submitted again, as <a href=" in message
    assert tour["made"] == [tour["done"], {"least": 0, "note": "<b>bold</b>"}, "rerun", "operator"]
    assert ["operator", tour["done"], "Submitted again"] in tour["noted"]


def test_all_runs_of_a_list_are_run_again_only_if_they_are_few(tour: dict[str, Any]) -> None:
    message = "More than 100 runs are selected, so none was submitted again."
    assert tour["all of many"] == [message, 0]
    assert tour["all of few"] == ["2 of 2 runs were submitted again.", 2]
