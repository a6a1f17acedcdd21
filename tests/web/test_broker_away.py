"""RabbitMQ is away: what is recorded is answered as made, so that no client submits it again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from runner.actions import project as actions
from runner.actions.projects import Projects
from runner.web.server import create_web_app
from tests.support.project import Project, write_project
from tests.support.servers import Server, free_port

SECRET = "wh-s3cr3t"
JOBS: dict[str, Any] = {
    "greet": {"task": "web_jobs:greet"},
    "hook": {"task": "web_jobs:greet", "webhook": {"signature": "token", "secret": "file:secret"}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Project:
    folder, away = tmp_path_factory.mktemp("away") / "p", {"broker_url": f"amqp://127.0.0.1:{free_port()}/"}
    return write_project(folder, redis_server.url, JOBS, {"web_jobs.py": "", "secret": SECRET}, away)


@pytest.fixture(scope="module")
def client(project: Project) -> Iterator[TestClient]:
    app = create_web_app(Projects([actions.Project(project.settings)]), host="127.0.0.1")
    with TestClient(app, base_url="http://127.0.0.1:8420", follow_redirects=False) as client:
        yield client


def test_the_api_answers_with_the_run_and_a_warning(
    client: TestClient, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "runner.actions"):
        made = client.post("/api/v1/jobs/greet/runs", json={})
    run = made.json()
    assert (made.status_code, run["state"], run["duplicate"]) == (201, "PENDING", False)
    assert made.headers["Warning"].startswith('199 - "the run is recorded')
    assert made.headers["Location"] == f"/api/v1/runs/{run['id']}"
    assert f"run {run['id']} of greet is recorded, not handed over" in caplog.text
    client.post(f"/api/v1/runs/{run['id']}/revoke").raise_for_status()
    again = client.post(f"/api/v1/runs/{run['id']}/rerun")
    assert (again.status_code, again.json()["rerun_of"], "Warning" in again.headers) == (201, run["id"], True)
    # A run that starts later is not to be handed over yet.
    later = client.post("/api/v1/jobs/greet/runs", json={"in": "1h"})
    assert (later.status_code, "Warning" in later.headers) == (201, False)


def test_a_webhook_makes_its_run(client: TestClient, project: Project) -> None:
    headers = {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": "d1"}
    made, again = (client.post("/hooks/hook", json={}, headers=headers) for _ in range(2))
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["id"] == again.json()["id"]
    assert project.document(made.json()["id"])["trigger"] == "webhook"


def test_a_form_leads_to_its_run(client: TestClient, project: Project) -> None:
    csrf = client.get("/jobs/greet").text.split('name="csrf" value="')[1].partition('"')[0]
    made = client.post("/jobs/greet/submit", data={"csrf": csrf})
    assert made.status_code == 303, made.text
    assert project.document(made.headers["location"].rpartition("/")[2])["state"] == "PENDING"
