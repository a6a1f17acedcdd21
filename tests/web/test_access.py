"""Who may: this host alone, tokens and their roles, a trusted proxy; never nobody."""

from __future__ import annotations

import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from runner.actions import project as actions
from runner.actions.projects import Projects
from runner.errors import InvalidSettings
from runner.settings.options import WebSettings, WebToken
from runner.web import guard
from runner.web.access import FAILURES, MOST_ADDRESSES, Access, NotAllowed, Role, new_token
from runner.web.requests import AtLeast
from runner.web.server import ROUTERS, create_web_app
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server, free_port
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


ROUTES: dict[tuple[str, str], Role | None] = {
    ("GET", "/login"): None,
    ("POST", "/login"): None,
    ("GET", "/healthz"): None,
    # It asks for a proof of its own: see test_inbound.py.
    ("POST", "/hooks/{job}"): None,
    **dict.fromkeys(
        [
            *[("GET", page) for page in ("/", "/jobs", "/jobs/{name}", "/runs", "/runs/{reference}", "/schedule")],
            *[("GET", page) for page in ("/runs/{reference}/log", "/schedule/{day}", "/fleet", "/metrics")],
            *[("GET", f"/api/v1/{part}") for part in ("runs", "runs/{reference}")],
            *[("GET", f"/api/v1/runs/{{reference}}/{part}") for part in ("why", "log", "log/stream")],
            *[("GET", f"/api/v1/{part}") for part in ("events", "jobs", "jobs/{job}", "jobs/{job}/stats", "stats")],
            *[
                ("GET", f"/api/v1/{part}")
                for part in ("upcoming", "workers", "queues", "audit", "backfills", "projects")
            ],
            ("POST", "/logout"),
        ],
        Role.READ,
    ),
    **dict.fromkeys(
        [
            *[("POST", f"/{part}") for part in ("jobs/{name}/submit", "runs/{reference}/revoke")],
            *[("POST", f"/api/v1/{part}") for part in ("jobs/{job}/runs", "runs/{reference}/revoke")],
            ("POST", "/jobs/{name}/backfill"),
            *[("POST", f"/runs/{{reference}}/{part}") for part in ("approve", "reject")],
            ("POST", "/runs/{reference}/rerun"),
            *[("POST", f"/api/v1/runs/{{reference}}/{part}") for part in ("rerun", "approve", "reject")],
            *[("POST", f"/api/v1/{part}") for part in ("jobs/{job}/backfills", "backfills/{reference}/revoke")],
        ],
        Role.OPERATE,
    ),
    **dict.fromkeys(
        [
            *[("POST", f"/{part}") for part in ("runs/{reference}/forget", "jobs/{name}/pause", "jobs/{name}/resume")],
            *[("POST", f"/api/v1/jobs/{{job}}/{part}") for part in ("pause", "resume")],
            ("DELETE", "/api/v1/runs/{reference}"),
            *[("GET", f"/files{part}") for part in ("", "/new", "/{name:path}")],
            ("POST", "/files/{name:path}"),
            ("GET", "/api/v1/files"),
            *[(method, "/api/v1/files/{name:file}") for method in ("GET", "PUT", "DELETE")],
            *[("POST", f"/api/v1/files/{{name:path}}/{part}") for part in ("check", "plan")],
        ],
        Role.ADMIN,
    ),
}
"""Every route, and who may; None: anybody."""


def form_token(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found is not None
    return found[1]


def test_every_route_has_a_role_and_refuses_those_below(guarded: Web) -> None:
    every = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    routes = {(method, route.path) for route in every for method in route.methods or ()}
    assert routes == set(ROUTES)
    for (method, path), needed in ROUTES.items():
        there = re.sub(r"{.*?}", "no-such-thing", path)
        with guarded.client() as client:
            answer = client.request(method, there)
            if needed is None:
                status = 404 if path.startswith("/hooks/") else 401 if method == "POST" else 200
                assert answer.status_code == status, (method, path)
                continue
            assert answer.status_code == (401 if path.startswith(("/api", "/metrics")) else 303), (method, path)
            for name, (token, _) in TOKENS.items():
                if Role[name.upper()] < needed:
                    refused = client.request(method, there, headers={"Authorization": f"Bearer {token}"})
                    assert refused.status_code == 403, (method, path, name)
                    assert needed.name.lower() in refused.text


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
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert TOKENS["operate"][0] not in cookie
        page = client.get("/jobs/greet")
        assert page.status_code == 200
        assert client.post("/jobs/greet/submit", data={"csrf": "0" * 64}).status_code == 403
        made = client.post("/jobs/greet/submit", data={"csrf": form_token(page.text), "param-name": "Bob"})
        assert (made.status_code, made.headers["Location"][:6]) == (303, "/runs/")
        client.post("/logout", data={"csrf": form_token(page.text)})
        assert client.get("/jobs/greet").status_code == 303


def test_who_has_logged_in_is_where_they_wanted_to_be(guarded: Web) -> None:
    with guarded.client(follow_redirects=True) as client:
        asked = client.get("/runs?job=greet&state=FAILURE")
        to = re.search(r'name="to" value="([^"]+)"', asked.text)
        assert to is not None
        there = client.post("/login", data={"token": TOKENS["read"][0], "to": to[1].replace("&amp;", "&")})
    assert there.url.raw_path == b"/runs?job=greet&state=FAILURE"


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
        assert client.get("/api/v1/runs", headers={"Authorization": "Bearer guess"}).status_code == 429
        # Whoever has a token is not kept out by somebody who guesses from the same address.
        assert client.get("/api/v1/runs", headers=bearer("read")).status_code == 200
        assert client.post("/login", data={"token": TOKENS["read"][0]}).status_code == 303

        def kept() -> list[dict[str, Any]]:
            acts: list[dict[str, Any]] = client.get(
                "/api/v1/audit", params={"act": "failed-login"}, headers=bearer("read")
            ).json()["acts"]
            return acts

        wait_until(lambda: len(kept()) == FAILURES, 30.0, "every failure in the audit log")
        assert {act["comment"] for act in kept()} == {"a token from 127.0.0.1 was refused"}
        assert web.process.stderr.count("failed-login") == FAILURES
        assert "guess" not in web.process.stderr


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        # Another port of this host is another site's page as well.
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:1"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/jobs/greet/runs", "/jobs/greet/submit", "/login"])
def test_another_site_cannot_act_for_who_looks_at_it(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    plain = {"Content-Type": "text/plain"}
    for answer in (
        client.post(path, headers=headers),
        client.post(path, content='{"params": {}}', headers={**plain, **headers}),
        client.post(path, data={"a": "b"}, headers=headers),
    ):
        assert answer.status_code == 403


def test_pages_of_this_site_may(client: httpx.Client) -> None:
    # A proxy that speaks TLS for it may leave another name in Host than the browser has.
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://runner.example"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": str(client.base_url).rstrip("/")},
    ):
        assert client.post("/api/v1/jobs/greet/runs", headers=headers).status_code == 201


def test_another_site_cannot_load_what_is_here_but_link_to_it(client: httpx.Client) -> None:
    for path in ("/api/v1/events", "/api/v1/runs", "/", "/static/live.js"):
        for mode in ("cors", "no-cors"):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
            assert client.get(path, headers=headers).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/runs", headers=link).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain; application/json", 415),
        ("", 415),
        ("application/json; charset=utf-8", 201),
    ],
)
def test_the_api_takes_nothing_that_a_form_can_send(client: httpx.Client, content_type: str, status: int) -> None:
    answer = client.post("/api/v1/jobs/greet/runs", content='{"params": {}}', headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == "http" if status == 415 else answer.json()["id"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "testserver",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@evil.example",
        "[",
        "",
    ],
)
def test_a_name_that_is_not_this_hosts_is_refused(client: httpx.Client, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/healthz"), ("POST", "/api/v1/jobs/greet/runs")):
        assert client.request(method, path, headers={"Host": host}).status_code == 421


def test_this_hosts_own_names_are_known(client: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:8420", "127.0.0.1", "[::1]:8420"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_names_of_its_own_are_declared(tmp_path: Path, redis_server: Server) -> None:
    section = {"hosts": ["runner.example"], "trusted_header": "X-User"}
    with guarded_by(section, tmp_path, redis_server) as web, web.client(headers={"X-User": "zoë".encode()}) as client:
        assert client.get("/runs", headers={"Host": "runner.example:8420"}).status_code == 200
        assert client.get("/runs", headers={"Host": "evil.example"}).status_code == 421
        made = client.post("/api/v1/jobs/greet/runs").json()
        assert made["submitted_by"] == "zoë"
        twice = client.get("/runs", headers=[("X-User", "mallory"), ("X-User", "carol")])
        assert twice.status_code == 400
        # A proxy may pass on a token that is its own; without tokens here it is none of ours.
        assert client.get("/runs", headers={"Authorization": "Bearer eyJhbGciOi"}).status_code == 200


def test_where_to_after_the_login_is_a_page_of_ours(guarded: Web) -> None:
    with guarded.client() as client:
        asked = client.get("/runs?job=greet&state=FAILURE").headers["Location"]
        assert asked == "/login?to=%2Fruns%3Fjob%3Dgreet%26state%3DFAILURE"
        for to in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "evil.example"):
            done = client.post("/login", data={"token": TOKENS["read"][0], "to": to})
            assert done.headers["Location"] == "/"
        for to in ("/\t/evil.example", "/\r\nSet-Cookie: a=b"):
            done = client.post("/login", data={"token": TOKENS["read"][0], "to": to})
            # What is not visible stays escaped: a browser would leave it out.
            assert done.headers["Location"].startswith(("/%09/", "/%0D%0A"))
            assert "a" not in done.cookies


def test_a_browser_that_speaks_tls_to_the_proxy_keeps_its_session_to_that(guarded: Web) -> None:
    with guarded.client() as client:
        done = client.post("/login", data={"token": TOKENS["read"][0]}, headers={"X-Forwarded-Proto": "https"})
        assert "Secure" in done.headers["Set-Cookie"]


def test_a_form_token_of_any_letters_is_only_wrong(client: httpx.Client) -> None:
    assert client.post("/jobs/greet/submit", data={"csrf": "é\ud7ff"}).status_code == 403


def access(**settings: Any) -> Access:
    return Access(WebSettings(tokens={"one": WebToken(sha256=TOKENS["read"][1])}, **settings), "127.0.0.1")


@pytest.mark.parametrize("listens", ["127.0.0.1", "0.0.0.0", "192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"trusted_header": "X-User", "hosts": ("runner.example",)}, {"hosts": ("runner.example", "2001:db8::8")}],
)
def test_only_names_of_this_host_and_of_the_settings_are_answered(settings: dict[str, Any], listens: str) -> None:
    it = Access(WebSettings(tokens={"one": WebToken(sha256=TOKENS["read"][1])}, **settings), listens)
    named = set(settings.get("hosts", ()))
    for name in ("localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "[::1]", "[0:0:0:0:0:0:0:1]"):
        assert it.is_host(name)
    for name in ("evil.example", "", "0.0.0.0", "[::]", "localhost.evil.example", "192.0.2.8", "runner.example.evil"):
        assert not it.is_host(name)
    assert it.is_host("Runner.Example") == ("runner.example" in named)
    assert it.is_host("[2001:DB8:0::8]") == ("2001:db8::8" in named)
    for own in ("192.0.2.7", "2001:db8::7"):
        assert it.is_host(own) == (own == listens)
    assert it.is_host("10.0.0.1", "10.0.0.1")
    assert it.is_host("[2001:DB8::9]", "2001:db8::9")
    for name in ("10.0.0.2", "evil.example", "10.0.0.1.evil.example"):
        assert not it.is_host(name, "10.0.0.1")
    assert not it.is_host("evil.example", "evil.example")


@pytest.mark.parametrize("listens", ["0.0.0.0", "::", "192.0.2.7", "runner.example"])
def test_a_trusted_header_beyond_this_host_needs_names(listens: str) -> None:
    for tokens in ({}, {"one": WebToken(sha256=TOKENS["read"][1])}):
        with pytest.raises(InvalidSettings, match=r"web\.hosts"):
            Access(WebSettings(tokens=tokens, trusted_header="X-User"), listens)
        Access(WebSettings(tokens=tokens, trusted_header="X-User", hosts=("runner.example",)), listens)
        Access(WebSettings(tokens=tokens, trusted_header="X-User"), "127.0.0.1")


def test_a_page_of_another_name_is_not_the_proxys_user(guarded: Web) -> None:
    # The browser believes that evil.example is this host, and so that all of this is its own.
    headers = {"Host": "evil.example", "X-Forwarded-User": "carol", "Sec-Fetch-Site": "same-origin"}
    with guarded.client() as client:
        for method, path in (("GET", "/"), ("GET", "/api/v1/runs"), ("POST", "/api/v1/jobs/greet/runs")):
            refused = client.request(method, path, headers={**headers, **bearer("operate")})
            assert refused.status_code == 421
            assert "greet" not in refused.text


@contextmanager
def without_redis(folder: Path) -> Iterator[httpx.Client]:
    """The application, in this process, of a project whose Redis is away."""
    port = free_port()
    project = write_project(folder / "p", f"redis://127.0.0.1:{port}/0", {**JOBS}, {"web_jobs.py": MODULE})
    app = create_web_app(
        Projects([actions.Project(project.settings)]), host="127.0.0.1", start_token=TOKENS["admin"][0]
    )
    with TestClient(app, base_url=f"http://127.0.0.1:{port + 1}", follow_redirects=False) as client:
        client.headers["X-Port"] = str(port)
        yield client


def test_nobody_is_told_where_redis_is(tmp_path: Path) -> None:
    with without_redis(tmp_path) as client:
        port = client.headers.pop("X-Port")
        for path in ("/healthz", "/login", "/", "/runs", "/metrics", "/api/v1/runs", "/static/no", "/no"):
            answer = client.get(path)
            assert port not in answer.text, path
            assert port not in str(answer.headers), path
        refused = client.get("/healthz")
        assert refused.status_code == 503
        assert refused.json()["error"] == {
            "code": "unavailable",
            "message": "Redis does not answer",
            "hint": "runner doctor reports the reason",
            "exit_code": 69,
        }
        # A user who may read gets an error that names the role.
        response = client.get("/api/v1/runs", headers=bearer("admin"))
        assert (response.status_code, port in response.text) == (503, True)


LONG = "a" * 300_000


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", f"/runs/{LONG[:1200]}", {}, 414),
        ("GET", f"/jobs/{LONG[:65]}", {}, 422),
        ("GET", f"/runs/{LONG[:129]}", {}, 422),
        ("GET", f"/api/v1/runs/{LONG[:129]}", {}, 422),
        ("GET", f"/schedule/{LONG[:33]}", {}, 422),
        ("GET", f"/runs?text={LONG[:201]}", {}, 422),
        ("GET", f"/api/v1/runs?text={LONG[:201]}", {}, 422),
        ("GET", f"/jobs?q={LONG[:101]}", {}, 422),
        ("GET", f"/runs?unknown={LONG[:9000]}", {}, 414),
        ("GET", f"/runs?{'&'.join(['state=FAILURE'] * 7)}", {}, 422),
        ("GET", f"/login?to=/{LONG[:9000]}", {}, 414),
        ("POST", "/login", {"data": {"token": LONG[:201]}}, 422),
        ("POST", "/login", {"data": {"to": LONG[:9000]}}, 422),
        ("POST", "/jobs/greet/submit", {"data": {"csrf": LONG}}, 413),
        ("POST", "/jobs/greet/submit", {"data": {"csrf": "", "param-name": LONG}}, 413),
        ("POST", "/jobs/greet/submit", {"data": {f"f{n}": "" for n in range(1001)}}, (400, 413)),
        ("POST", "/runs/00000000/revoke", {"data": {"csrf": LONG[:129]}}, 422),
        ("POST", "/runs/00000000/revoke", {"data": {"comment": LONG[:1001]}}, 422),
        ("POST", "/runs/00000000/revoke", {"data": {"terminate": LONG[:9]}}, 422),
        ("POST", "/jobs/greet/pause", {"data": {"duration": LONG[:33]}}, 422),
        ("POST", "/api/v1/jobs/greet/pause", {"json": {"comment": LONG[:1001]}}, 422),
        ("POST", "/api/v1/jobs/greet/runs", {"json": {"at": LONG[:65]}}, 422),
        ("POST", "/api/v1/jobs/greet/runs", {"headers": {"Idempotency-Key": LONG[:257]}}, 422),
        ("POST", "/api/v1/jobs/greet/runs", {"json": {"params": {"name": LONG[:70_000]}}}, 422),
    ],
)
def test_whatever_is_sent_is_only_so_long(
    client: httpx.Client, method: str, path: str, more: dict[str, Any], status: int | tuple[int, ...]
) -> None:
    assert client.request(method, path, **more).status_code in (status if isinstance(status, tuple) else (status,))


def test_a_field_of_a_form_is_only_as_long_as_params_are(client: httpx.Client) -> None:
    csrf = form_token(client.get("/jobs/greet").text)
    answer = client.post("/jobs/greet/submit", data={"csrf": csrf, "param-name": LONG[:70_000]})
    assert answer.status_code == 422
    assert "name: has 70,005 characters, but all params together may have 64KiB" in answer.text


HOSTS = (
    *(
        "127.0.0.1/static/?",
        "127.0.0.1/static/",
        "localhost/login?",
        "127.0.0.1?",
        "127.0.0.1#",
        "127.0.0.1:8420/login#",
    ),
    *(
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:999999",
        "localhost@localhost",
        "[::1",
        "::1",
        "[::1]x",
        "[localhost]",
    ),
    *("localhost localhost", "localhost,localhost", "localhost\\", ".localhost", "localhost.", "http://localhost"),
)


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_is_a_name_and_a_port(guarded: Web, host: str) -> None:
    with guarded.client() as client:
        for path in ("/", "/runs", "/jobs/greet", "/api/v1/runs", "/metrics", "/healthz", "/static/live.js"):
            answer = client.get(path, headers={"Host": host})
            assert answer.status_code in (400, 421), (host, path)
            assert "greet" not in answer.text


def test_what_is_not_for_everybody_asks_for_itself_too() -> None:
    """Every route refuses by itself: what the guard lets pass by mistake is refused all the same."""
    public = {path for (_, path), role in ROUTES.items() if role is None}
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            asks = any(isinstance(dependant.call, AtLeast) for dependant in flat(route.dependant))
            assert asks == (route.path not in public), route.path


def flat(dependant: Dependant) -> Iterator[Dependant]:
    for dependency in dependant.dependencies:
        yield dependency
        yield from flat(dependency)


def test_nothing_reads_a_url_that_the_host_header_is_part_of() -> None:
    for file in Path(guard.__file__).parent.rglob("*"):
        if file.suffix in (".py", ".html"):
            assert not re.search(r"(?<!`)request\.(base_)?url\b", file.read_text()), file


def test_who_guesses_is_told_apart_behind_a_proxy() -> None:
    it = access(trusted_proxies=("10.0.0.0/8", "::1"))
    for sender, forwarded, origin in (
        ("10.1.2.3", "192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", "1.1.1.1, 192.0.2.7", "192.0.2.7"),
        ("10.1.2.3", "192.0.2.7, 10.9.9.9", "192.0.2.7"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "unknown", "10.1.2.3"),
        # The header is ignored if the client is not a trusted proxy.
        ("192.0.2.7", "1.1.1.1", "192.0.2.7"),
        ("::ffff:10.1.2.3", "192.0.2.7", "192.0.2.7"),
        # Some proxies add the port.
        ("10.1.2.3", "192.0.2.7:50123", "192.0.2.7"),
        ("10.1.2.3", "192.0.2.7:50123, 10.9.9.9:443", "192.0.2.7"),
        ("10.1.2.3", "[2001:db8::7]:50123", "2001:db8::7"),
        ("10.1.2.3", "[2001:db8::7]", "2001:db8::7"),
        ("10.1.2.3", '"[2001:db8::7]:50123"', "2001:db8::7"),
        ("10.1.2.3", "2001:db8::7", "2001:db8::7"),
        ("10.1.2.3", "192.0.2.7:http", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::7", "10.1.2.3"),
        ("10.1.2.3", "[2001:db8::7]8080", "10.1.2.3"),
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", ",", "10.1.2.3"),
    ):
        assert it.origin_of(sender, forwarded) == origin


def test_failures_are_counted_by_address_and_by_network() -> None:
    it = access()

    def fails(address: str) -> bool:
        try:
            return it.of_token("guess", address) is None
        except NotAllowed as error:
            return error.status != 429

    assert [fails(f"2001:db8::{n:x}") for n in range(FAILURES + 1)] == [True] * FAILURES + [False]
    assert fails("2001:db8:0:1::1")
    assert it.of_token(TOKENS["read"][0], "2001:db8::ffff") is not None
    assert not fails("2001:db8::ffff")
    # Who has many addresses cannot make it forget one of them.
    for n in range(MOST_ADDRESSES - 2):
        it.of_token("guess", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert not fails("2001:db8::1")


def test_sessions_are_only_so_many_and_the_first_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.web.access.MOST_SESSIONS", 3)
    it = access()
    made = [it.log_in(TOKENS["read"][0], "192.0.2.7") for _ in range(5)]
    assert [it.of_session(session or "") is not None for session in made] == [False, False, True, True, True]


def test_a_network_that_is_none_is_refused(tmp_path: Path, redis_server: Server) -> None:
    web = {"trusted_header": "X-User", "trusted_proxies": ["10.0.0.0/33", "proxy.example"]}
    project = write_project(tmp_path / "p", redis_server.url, {**JOBS}, {"web_jobs.py": MODULE}, {"web": web}, "w")
    refused = project.cli("web", "--port", "0").check(2)
    assert "web.trusted_proxies[0]: '10.0.0.0/33' is neither an address nor a network" in refused.stderr
    assert "web.trusted_proxies[1]: 'proxy.example'" in refused.stderr


def test_a_body_is_only_so_large(client: httpx.Client) -> None:
    large = '{"params": {"name": "' + "a" * 300_000 + '"}}'
    headers = {"Content-Type": "application/json"}

    def chunks() -> Iterator[bytes]:
        for first in range(0, len(large), 50_000):
            yield large[first : first + 50_000].encode()

    for content in (large, chunks()):
        answer = client.post("/api/v1/jobs/greet/runs", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]["exit_code"]) == (413, 2)
    # What limits.params refuses has its own words.
    answer = client.post("/api/v1/jobs/greet/runs", content=large[:70_000] + '"}}', headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_params")


def test_who_never_finishes_a_head_is_hung_up_on(web: Web) -> None:
    host, _, port = web.url.removeprefix("http://").partition(":")
    begin = time.monotonic()
    with socket.create_connection((host, int(port)), 40.0) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        slow.settimeout(2.0)
        while time.monotonic() - begin < 40.0:
            try:
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                slow.sendall(b"X: y\r\n")
            except ConnectionResetError:
                break
        else:
            pytest.fail("a head may take forever")


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
    for path in ("/", "/api/v1/jobs", "/static/live.js", "/no-such-page", "/static/../server.py", "/api/v1/events"):
        headers = client.head(path).headers
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def test_what_runs_and_specs_contain_is_escaped(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "fails", "--wait").check(1).id
    for path in (f"/runs/{run_id}", "/", "/runs", "/jobs", "/jobs/greet"):
        html = client.get(path).text
        assert "<script>alert" not in html
        assert "<b>somebody" not in html


def test_what_utf8_has_no_way_to_write_is_shown_all_the_same(web: Web, client: httpx.Client) -> None:
    # Such as the name of a file that is none.
    run_id = web.project.cli("submit", "garbled", "--wait").check(1).id
    for path in (f"/runs/{run_id}", "/", "/runs", "/jobs/garbled"):
        assert client.get(path).status_code == 200
    assert client.get(f"/api/v1/runs/{run_id}").json() == web.project.document(run_id)
    assert client.get("/api/v1/runs").status_code == 200


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py"])
def test_no_file_beside_the_assets_is_served(web: Web, path: str) -> None:
    host, _, port = web.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), 10.0) as plain:
        # As it stands: a client would tidy the path up.
        plain.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        assert plain.makefile("rb").readline() == b"HTTP/1.1 404 Not Found\r\n"


def test_acts_stand_in_the_log_of_the_server_too(guarded: Web, tmp_path: Path) -> None:
    with guarded.client() as client, guarded.project.worker(concurrency=1):
        gate = tmp_path / "gate"
        run_id = client.post(
            "/api/v1/jobs/gated/runs", json={"params": {"gate": str(gate)}}, headers=bearer("operate")
        ).json()["id"]
        guarded.project.wait_for_state(run_id, "STARTED")
        for _ in range(5):
            body = {"comment": "enough\nFORGED by='nobody'"}
            client.post(f"/api/v1/runs/{run_id}/revoke", json=body, headers=bearer("operate"))
        gate.touch()
        guarded.project.wait_for_state(run_id, "SUCCESS", "REVOKED")
        again = client.post(f"/api/v1/runs/{run_id}/rerun", headers=bearer("operate")).json()["id"]
        client.delete(f"/api/v1/runs/{run_id}", headers=bearer("admin"))
        for _ in range(5):
            client.post("/api/v1/jobs/paged/pause", headers=bearer("admin"))
            client.post("/api/v1/jobs/paged/resume", headers=bearer("read"))
        client.post("/api/v1/jobs/paged/resume", headers=bearer("admin"))
    lines = [line.partition("runner.audit: ")[2] for line in guarded.process.stderr.splitlines()]
    assert [line for line in lines if run_id in line or again in line or "paged" in line] == [
        f"submit by='the-operate' job='gated' id='{run_id}'",
        f"revoke by='the-operate' id='{run_id}' comment=\"enough\\nFORGED by='nobody'\"",
        f"rerun by='the-operate' job='gated' id='{again}'",
        f"forget by='the-admin' id='{run_id}'",
        "pause by='the-admin' job='paged'",
        "resume by='the-admin' job='paged'",
    ]


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
        assert "has not succeeded for longer than" in browser.get("/").text
        assert "It has not succeeded for longer" in browser.get("/jobs/late").text
