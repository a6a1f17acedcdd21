"""The extension for Flask: an application with a factory, its runs as JSON, and ``flask runner``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project, clean_environment
from tests.support.scripts import python
from tests.support.servers import Server

HERE = Path(__file__).parent


@pytest.fixture
def office(make_project: Callable[..., Project], redis_server: Server) -> Project:
    project = make_project()
    shutil.copytree(HERE / "flask_office", project.path, dirs_exist_ok=True)
    settings = (project.path / "runner.yaml").read_text().replace("env:OFFICE_RUNS_URL", redis_server.url)
    project.write({"runner.yaml": f"{settings}namespace: {project.namespace}\n"})
    return project


def flask(project: Project, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``flask``, from another folder than that of the project."""
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", f"{project.path / 'office.py'}:create_app", *words],
        cwd=cwd or project.path.parent,
        env=clean_environment(project.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ASK = """
import json
from office import create_app
client = create_app().test_client()
ours = {"Authorization": "Bearer ours"}
made = client.post("/greet", json={"name": "Ann"}, headers={"Idempotency-Key": "1"})
again = client.post("/greet", json={"name": "Ann"}, headers={"Idempotency-Key": "1"})
wrong = client.post("/greet", json={"names": "Ann"})
run = client.get(f"/runs/{made.get_json()['id']}", headers=ours)
print(json.dumps({
    "made": [made.status_code, made.get_json()["id"], again.get_json()["id"]],
    "wrong": [wrong.status_code, wrong.get_json()["error"]["code"]],
    "document": [run.status_code, run.content_type, run.get_json()],
    "own": client.get(f"/own/{made.get_json()['id']}").get_json(),
    "last": client.get("/last").get_json(),
    "guarded": client.get(f"/runs/{made.get_json()['id']}").status_code,
    "unknown": [client.get("/runs/" + "0" * 32, headers=ours).status_code],
}))
"""


def test_an_application_submits_and_serves_runs(office: Project) -> None:
    answers: dict[str, Any] = python(office, "-c", ASK)
    status, run_id, again = answers["made"]
    assert (status, again) == (202, run_id)
    assert answers["wrong"] == [422, "invalid_params"]
    status, kind, document = answers["document"]
    assert (status, kind) == (200, "application/json")
    assert document == office.document(run_id) == answers["own"]
    assert answers["last"] == {"states": ["PENDING"]}
    assert answers["guarded"] == 401
    assert answers["unknown"] == [404]


def test_the_commands_under_flask(office: Project) -> None:
    done = flask(office, "runner", "submit", "greet", "-p", "name=Bob")
    assert (done.returncode, done.stderr.partition("warning")[0]) == (0, "")
    run_id = done.stdout.strip()
    done = flask(office, "runner", "status", run_id, "--json")
    assert '"greet"' in done.stdout
    # Exit codes and errors are those of the program, whatever flask makes of them.
    done = flask(office, "runner", "submit", "gret")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Did you mean greet?" in done.stderr
    assert flask(office, "runner", "status", "0" * 32).returncode == 4
    assert "flask runner submit [OPTIONS] JOB" in flask(office, "runner", "submit", "--help").stdout
    assert "  submit  " in flask(office, "runner", "--help").stdout


def test_the_worker_under_flask_runs_a_job_in_the_application(office: Project) -> None:
    run_id = office.submit("greet", "-p", "name=Cid")
    with office.worker(concurrency=1):
        assert office.wait_for_state(run_id, "SUCCESS", "FAILURE")["result"] == "hello Cid"
