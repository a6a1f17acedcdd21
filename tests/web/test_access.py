"""Who may: this host alone, tokens and their roles, a trusted proxy; never nobody."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.web.access import new_token
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import JOBS, MODULE, Web, serving

TOKENS = {role: new_token() for role in ("read", "operate", "admin")}


@contextmanager
def guarded_by(section: dict[str, Any], folder: Path, server: Server) -> Iterator[Web]:
    """Serve a project of its own whose ``web`` section is given."""
    namespace = f"w{uuid.uuid4().hex[:10]}"
    project = write_project(folder / "p", server.url, {**JOBS}, {"web_jobs.py": MODULE}, {"web": section}, namespace)
    with serving(project) as web:
        yield web


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Web]:
    tokens = {f"the-{role}": {"sha256": digest, "role": role} for role, (_, digest) in TOKENS.items()}
    section = {"tokens": tokens, "trusted_header": "X-Forwarded-User", "trusted_role": "read"}
    with guarded_by(section, tmp_path_factory.mktemp("guarded"), redis_server) as web:
        yield web


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[role][0]}"}


def form_token(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(("path", "status"), [("/", 303), ("/runs", 303), ("/api/v1/runs", 401), ("/metrics", 401)])
def test_nobody_sees_nothing(guarded: Web, path: str, status: int) -> None:
    with guarded.client() as client:
        answer = client.get(path)
    assert answer.status_code == status
    assert "greet" not in answer.text


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        ("read", "GET", "/runs", 200),
        ("read", "POST", "/jobs/greet/runs", 403),
        ("read", "POST", "/jobs/greet/pause", 403),
        ("operate", "POST", "/jobs/greet/runs", 201),
        ("operate", "POST", "/jobs/greet/pause", 403),
        ("operate", "DELETE", "/runs/00000000", 403),
        ("admin", "POST", "/jobs/scheduled/resume", 200),
    ],
)
def test_each_role_may_what_it_says(guarded: Web, role: str, method: str, path: str, status: int) -> None:
    with guarded.client() as client:
        answer = client.request(method, f"/api/v1{path}", headers=bearer(role))
    assert answer.status_code == status
    if status == 201:
        assert answer.json()["submitted_by"] == f"the-{role}"


def test_a_session_begins_with_a_token_and_its_forms_are_its_own(guarded: Web) -> None:
    with guarded.client() as client:
        wrong = client.post("/login", data={"token": "x"})
        assert wrong.status_code == 401
        done = client.post("/login", data={"token": TOKENS["operate"][0], "to": "//elsewhere.example/"})
        assert (done.status_code, done.headers["Location"]) == (303, "/")
        cookie = done.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKENS["operate"][0] not in cookie
        page = client.get("/jobs/greet")
        assert page.status_code == 200
        assert client.post("/jobs/greet/submit", data={"csrf": "0" * 64}).status_code == 403
        made = client.post("/jobs/greet/submit", data={"csrf": form_token(page.text), "param-name": "Bob"})
        assert (made.status_code, made.headers["Location"][:6]) == (303, "/runs/")
        client.post("/logout", data={"csrf": form_token(page.text)})
        assert client.get("/jobs/greet").status_code == 303


def test_the_proxy_is_believed_from_its_address_only(guarded: Web) -> None:
    with guarded.client(headers={"X-Forwarded-User": "carol"}) as client:
        assert client.get("/runs").status_code == 200
        assert client.post("/api/v1/jobs/greet/runs").status_code == 403
    with guarded.client(headers={"X-Other-User": "carol"}) as client:
        assert client.get("/runs").status_code == 303


def test_guessing_is_slowed_down(tmp_path: Path, redis_server: Server) -> None:
    tokens = {"one": {"sha256": TOKENS["read"][1]}}
    with guarded_by({"tokens": tokens}, tmp_path, redis_server) as web, web.client() as client:
        answers = [client.post("/login", data={"token": f"guess-{n}"}).status_code for n in range(12)]
        assert answers == [401] * 10 + [429] * 2
        assert client.get("/api/v1/runs", headers=bearer("read")).status_code == 429


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}],
)
def test_another_site_cannot_act_for_who_looks_at_it(client: httpx.Client, headers: dict[str, str]) -> None:
    answer = client.post("/api/v1/jobs/greet/runs", headers=headers)
    assert answer.status_code in (403, 421)


def test_a_name_that_is_not_this_hosts_is_refused(client: httpx.Client) -> None:
    assert client.get("/", headers={"Host": "rebound.example"}).status_code == 421


def test_without_tokens_only_this_host_is_served(project: Project) -> None:
    refused = project.cli("web", "--host", "0.0.0.0", "--port", "0").check(2)
    assert "tokens" in refused.stderr


def test_a_new_token_is_printed_once_and_only_its_hash_is_for_the_file(project: Project) -> None:
    made = project.cli("web", "--new-token", "dave", "--role", "operate").check()
    token = made.stdout.strip()
    assert len(token) > 30
    assert token not in made.stderr
    assert "dave" in made.stderr
    assert "operate" in made.stderr


def test_headers_that_protect_are_on_every_page(client: httpx.Client) -> None:
    for path in ("/", "/api/v1/jobs", "/static/live.js", "/no-such-page"):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_what_runs_and_specs_contain_is_escaped(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "fails", "--wait").check(1).id
    for path in (f"/runs/{run_id}", "/", "/runs", "/jobs", "/jobs/greet"):
        html = client.get(path).text
        assert "<script>alert" not in html
        assert "<b>somebody" not in html


def test_metrics_are_for_whoever_may_read(guarded: Web) -> None:
    with guarded.client() as client:
        answer = client.get("/metrics", headers=bearer("read"))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'runner_active_runs{state="PENDING"}' in answer.text


def test_a_job_that_is_overdue_is_shown(tmp_path: Path, redis_server: Server) -> None:
    jobs = {"late": {"task": "web_jobs:greet", "alert_if_no_success": "1s"}}
    project = write_project(tmp_path / "p", redis_server.url, jobs, {"web_jobs.py": MODULE})
    run_id, client = project.submit("late"), project.redis()
    client.zadd(f"{project.namespace}:job:late:PENDING", {run_id: 1})
    client.close()
    with serving(project) as web, web.client() as browser:
        assert "No success for longer than" in browser.get("/").text
        assert "It has not succeeded for longer" in browser.get("/jobs/late").text
