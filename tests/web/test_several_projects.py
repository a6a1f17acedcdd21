"""Several projects in one ``runner web``: a switcher, ids found in all, acts in the run's own project, and one away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.project import Project, write_project
from tests.support.servers import Server, free_port
from tests.web.conftest import MODULE, Web

JOBS: dict[str, Any] = {
    "greet": {"task": "web_jobs:greet", "params": {"name": {"type": "string", "default": "world"}}},
    "flow": {"steps": {"one": {"task": "web_jobs:greet"}}},
    "hourly": {"task": "web_jobs:greet", "schedule": {"every": "1h"}},
}


def write(folder: Path, url: str, job: str) -> Project:
    return write_project(folder, url, {**JOBS, job: JOBS["greet"]}, {"web_jobs.py": MODULE})


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Project:
    return write(tmp_path_factory.mktemp("several") / "shop", redis_server.url, "only-shop")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Project:
    return write(tmp_path_factory.mktemp("several") / "my bank", redis_server.url, "only-bank")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, shop: Project, bank: Project) -> Iterator[Web]:
    """Three projects, of which the Redis of the last one is away."""
    away = write(tmp_path_factory.mktemp("several") / "away", f"redis://127.0.0.1:{free_port()}/0", "only-away")
    words = [word for project in (shop, bank, away) for word in ("--project", str(project.path))]
    process = shop.start("web", "--port", "0", "--no-token", *words)
    with process:
        ready = process.wait_for(r"runner web ready: (http://\S+)/", 60.0)
        yield Web(shop, ready[1], process)


@pytest.fixture
def client(web: Web) -> Iterator[httpx.Client]:
    with web.client() as client:
        yield client


def test_the_first_page_shows_all(client: httpx.Client, web: Web) -> None:
    assert "project away is not shown" in web.process.stderr
    text = client.get("/").text
    assert "away is not shown" in text
    for name in ("shop", "my%20bank", "away"):
        assert f'href="/projects/{name}/"' in text
    listed = {project["name"]: project for project in client.get("/api/v1/projects").json()["projects"]}
    assert list(listed) == ["shop", "my bank", "away"]
    assert listed["shop"]["states"]["SUCCESS"] == 0
    assert listed["away"]["states"] is None
    assert listed["away"]["error"]["exit_code"] == 69
    # One that is away does not make the web look dead.
    assert client.get("/healthz").status_code == 200
    assert client.get("/healthz", params={"project": "away"}).status_code == 503


def test_nobody_is_told_the_names_of_projects(client: httpx.Client) -> None:
    # Nothing of this needs a login.
    asked = [client.get("/healthz", params={"project": "other"})]
    asked += [client.post("/hooks/greet", json={}, params=of) for of in ({}, {"project": "other"}, {"project": "shop"})]
    asked.append(client.post("/projects/shop/hooks/other", json={}))
    for answer in asked:
        plain = {"code": "http", "message": "there is no such page", "hint": None, "exit_code": 2}
        assert (answer.status_code, answer.json()["error"]) == (404, plain), answer.url


def links_of(text: str) -> list[str]:
    return [part.partition('"')[0] for name in ("href", "action", "data-live") for part in text.split(f'{name}="')[1:]]


def test_the_pages_of_a_project_lead_to_its_own(client: httpx.Client, bank: Project) -> None:
    run_id = bank.submit("flow")
    own = "/projects/my%20bank"
    pages = [
        "/",
        "/jobs",
        "/jobs/flow",
        "/jobs/greet",
        "/runs",
        f"/runs/{run_id}",
        "/schedule",
        "/fleet",
        "/runs/nosuch00",
    ]
    for path in pages:
        text = client.get(f"{own}{path}").text
        led = [link for link in links_of(text) if link.startswith("/")]
        others = {"/", "/projects/shop/", "/projects/away/"}
        assert {link for link in led if not link.startswith((f"{own}/", "/static/"))} == others, path
        assert any(link.startswith(f"{own}/") for link in led)
    assert "only-bank" in client.get(f"{own}/jobs").text
    assert "only-shop" not in client.get(f"{own}/jobs").text


def test_ids_are_found_in_all(client: httpx.Client, shop: Project, bank: Project) -> None:
    for project, own in ((shop, "/projects/shop"), (bank, "/projects/my%20bank")):
        run_id = project.submit("greet")
        assert client.get(f"/api/v1/runs/{run_id}").json()["id"] == run_id
        assert f'href="{own}/jobs/greet"' in client.get(f"/runs/{run_id}").text
        revoked = client.post(f"/api/v1/runs/{run_id}/revoke", json={"comment": "mine"})
        assert revoked.json()["state"] == "REVOKED"
        assert project.document(run_id)["revocation"]["comment"] == "mine"
    unknown = client.get("/api/v1/runs/00000000")
    # It might be one of the project that cannot be asked.
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (503, "unavailable")


def test_forms_act_in_their_project(client: httpx.Client, bank: Project) -> None:
    own = "/projects/my%20bank"
    text = client.get(f"{own}/jobs/greet").text
    csrf = text.split('name="csrf" value="')[1].partition('"')[0]
    made = client.post(f"{own}/jobs/greet/submit", data={"csrf": csrf, "param-name": "Ada"})
    assert made.status_code == 303
    where, run_id = made.headers["location"].rsplit("/", 1)
    assert where == f"{own}/runs"
    assert bank.document(run_id)["params"] == {"name": "Ada"}
    gone = client.post(f"{own}/runs/{run_id}/revoke", data={"csrf": csrf})
    assert gone.headers["location"] == f"{own}/runs/{run_id}"
    assert bank.document(run_id)["state"] == "REVOKED"


def test_the_api_wants_a_project_by_name(client: httpx.Client, shop: Project) -> None:
    for path in ("/api/v1/runs", "/api/v1/jobs", "/api/v1/workers", "/metrics", "/api/v1/jobs/greet"):
        answer = client.get(path)
        assert answer.status_code == 422, path
        assert "?project=" in answer.json()["error"]["hint"]
    assert client.get("/api/v1/jobs/only-shop", params={"project": "shop"}).json()["name"] == "only-shop"
    assert client.get("/api/v1/jobs/only-shop", params={"project": "my bank"}).status_code == 404
    listed = client.get("/api/v1/runs?project=shop&job=greet&state=REVOKED&limit=5")
    assert listed.status_code == 200, listed.text
    assert client.get("/api/v1/runs", params={"project": "other"}).json()["error"]["code"] == "unknown_project"
    made = client.post("/api/v1/jobs/only-shop/runs", params={"project": "shop"}, json={})
    assert made.status_code == 201
    assert client.get(made.headers["location"]).json()["job"] == "only-shop"
    assert shop.document(made.json()["id"])["trigger"] == "api"
    assert client.get("/api/v1/runs", params={"project": "away"}).status_code == 503
    assert client.get("/projects/other/runs").status_code == 404
