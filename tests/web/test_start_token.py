"""Without tokens and a proxy, the token of a start says who may: its link once, as a bearer, and in the login form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.servers import Server
from tests.web.conftest import Web, serving
from tests.web.test_access import TOKENS, form_token, guarded_by


def told_by(web: Web) -> dict[str, Any]:
    """What ``--json`` prints when the server is ready."""
    line = wait_until(lambda: web.process.stdout, 20.0, "a line of JSON")
    return dict(json.loads(str(line)))


@pytest.fixture
def started(project: Project) -> Iterator[tuple[Web, str]]:
    """A web process as ``runner web`` starts it, and its token."""
    with serving(project, "--json") as web:
        yield web, told_by(web)["token"]


def test_nobody_is_let_in_without_it(started: tuple[Web, str]) -> None:
    web, _ = started
    with web.client() as client:
        for path, status in (("/", 303), ("/runs", 303), ("/api/v1/runs", 401), ("/metrics", 401), ("/healthz", 200)):
            answer = client.get(path)
            assert (answer.status_code, "greet" in answer.text) == (status, False), path
        assert client.get("/api/v1/openapi.json").status_code == 401
        assert client.post("/api/v1/jobs/greet/runs").status_code == 401
        assert client.post("/jobs/greet/submit").status_code == 303
        for token in ("", "wrong", "\ud7ff", "é"):
            assert client.get("/", params={"token": token}).headers["Location"].startswith("/login?")
            bearer = [(b"Authorization", b"Bearer x" + token.encode())]
            assert client.get("/api/v1/runs", headers=bearer).status_code == 401


def test_what_is_printed_is_the_link(started: tuple[Web, str]) -> None:
    web, token = started
    document = told_by(web)
    assert document == {"url": f"{web.url}/", "token": token, "link": f"{web.url}/?token={token}"}
    assert f"runner web ready: {document['link']}" in web.process.stderr
    assert len(token) > 30


def test_a_busy_port_is_an_error_of_the_command_line(started: tuple[Web, str], project: Project) -> None:
    port = started[0].url.rpartition(":")[2]
    refused = project.cli("web", "--port", port).check(2)
    assert refused.stderr == (
        f"error: port {port} on 127.0.0.1 is in use\n"
        f"hint: choose another one: --port {int(port) + 1}, or --port 0 for any free port\n"
    )


def test_the_link_begins_a_session_once(started: tuple[Web, str]) -> None:
    web, token = started
    with web.client() as client, web.client() as other:
        # What looks ahead at a link does not use it up, and the API takes no tokens in URLs.
        assert client.head(f"/?token={token}").status_code == 303
        assert client.get(f"/api/v1/runs?token={token}").status_code == 401
        opened = client.get(f"/runs?job=greet&token={token}&state=FAILURE")
        assert (opened.status_code, opened.headers["Location"]) == (303, "/runs?job=greet&state=FAILURE")
        cookie = opened.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert token not in cookie
        page = client.get("/jobs/greet")
        assert page.status_code == 200
        made = client.post("/jobs/greet/submit", data={"csrf": form_token(page.text)})
        assert made.status_code == 303
        assert web.project.document(made.headers["Location"].removeprefix("/runs/"))["submitted_by"] == "local"
        # Opened again, it leads on whoever is in already, and nobody else.
        assert client.get(f"/jobs?token={token}").headers["Location"] == "/jobs"
        refused = other.get(f"/jobs?token={token}")
        assert refused.headers["Location"] == f"/login?link=refused&to={quote('/jobs', safe='')}"
        assert "has been opened before" in other.get(refused.headers["Location"]).text
        assert other.get("/").status_code == 303
        # But its token is as good as before in the form.
        done = other.post("/login", data={"token": token, "to": "/jobs"})
        assert (done.status_code, done.headers["Location"]) == (303, "/jobs")
        assert other.get("/jobs").status_code == 200
        other.post("/logout", data={"csrf": form_token(other.get("/jobs/greet").text)})
        assert other.get("/jobs").status_code == 303


def test_programs_send_it_as_a_bearer(started: tuple[Web, str]) -> None:
    web, token = started
    with web.client(headers={"Authorization": f"Bearer {token}"}) as client:
        for _ in range(2):
            assert client.post("/api/v1/jobs/greet/runs").status_code == 201
        assert client.post("/api/v1/jobs/scheduled/resume").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert "HTTPBearer" in client.get("/api/v1/openapi.json").text


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example", "/%2F%2Fevil.example"])
def test_the_link_leads_nowhere_else(started: tuple[Web, str], path: str) -> None:
    web, token = started
    with web.client() as client:
        answer = client.get(httpx.URL(web.url).copy_with(raw_path=f"{path}?token={token}".encode()))
        assert answer.status_code == 303
        assert re.match(r"/[^/\\]", answer.headers["Location"]), answer.headers["Location"]


def test_two_servers_of_one_host_keep_their_sessions(project: Project) -> None:
    """Browsers send the cookies of a host to all of its ports."""
    with serving(project, "--json") as one, serving(project, "--json") as two, httpx.Client(timeout=60.0) as browser:
        for web in (one, two):
            link = told_by(web)["link"]
            assert browser.get(link, follow_redirects=True).status_code == 200
        for web in (one, two):
            assert browser.get(f"{web.url}/jobs").status_code == 200


def test_with_no_token_anybody_of_this_host_may(project: Project) -> None:
    with serving(project, "--no-token", "--json") as web, web.client() as client:
        assert told_by(web) == {"url": f"{web.url}/", "token": None, "link": f"{web.url}/"}
        assert "token" not in web.process.stderr
        assert client.get("/").status_code == 200
        assert client.post("/api/v1/jobs/greet/runs").status_code == 201


def test_where_tokens_are_declared_there_is_no_other(tmp_path: Path, redis_server: Server) -> None:
    token, digest = TOKENS["read"]
    with guarded_by({"tokens": {"one": {"sha256": digest}}}, tmp_path, redis_server) as web, web.client() as client:
        assert "token=" not in web.process.stderr
        # They do not belong into URLs: those are kept in histories.
        assert client.get(f"/?token={token}").headers["Location"].startswith("/login?to=")
        assert client.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"}).status_code == 200
