"""Inbound webhooks: a run for each delivery, and nothing for whoever does not know the secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import MODULE, Web, serving

SECRET = "wh-s3cr3t"
TASK = {"task": "web_jobs:anything"}
TEXT = {"type": "string"}
JOBS: dict[str, Any] = {
    "deploy": {
        **TASK,
        "params": {"branch": {"type": "string", "required": True}, "event": TEXT, "commit": TEXT},
        "webhook": {
            "signature": "github",
            "secret": "env:HOOK_SECRET",
            "params": {"branch": "ref", "event": "header:X-GitHub-Event", "commit": "commits.0.id"},
        },
    },
    "paid": {
        **TASK,
        "params": {"event": {"type": "object"}},
        "webhook": {"signature": "stripe", "secret": "file:stripe", "params": {"event": "."}},
    },
    "plain": {
        **TASK,
        "params": {"n": {"type": "integer"}},
        "webhook": {"signature": "token", "secret": "env:HOOK_SECRET", "params": {"n": "n"}},
    },
    "no-secret": {**TASK, "webhook": {"signature": "token", "secret": "env:NOT_SET"}},
    "empty-token": {**TASK, "webhook": {"signature": "token", "secret": "env:EMPTY_SECRET"}},
    "empty-key": {**TASK, "webhook": {"signature": "github", "secret": "file:empty"}},
    "off": {**TASK, "enabled": False, "webhook": {"signature": "token", "secret": "env:HOOK_SECRET"}},
    "greet": TASK,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Project:
    folder = tmp_path_factory.mktemp("inbound")
    files = {"web_jobs.py": MODULE, "stripe": SECRET + "\n", "empty": "\n"}
    project = write_project(folder / "p", redis_server.url, JOBS, files)
    project.environment["HOOK_SECRET"] = SECRET
    project.environment["EMPTY_SECRET"] = ""
    return project


@pytest.fixture(scope="module")
def web(project: Project) -> Iterator[Web]:
    # With a token: without one, anybody is let in.
    with serving(project, "--host", "127.0.0.1") as found:
        yield found


@pytest.fixture
def client(web: Web) -> Iterator[httpx.Client]:
    with web.client(headers={"Content-Type": "application/json"}) as client:
        yield client


def sign(body: bytes) -> str:
    return hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()


def github(client: httpx.Client, content: Any, delivery: str, **more: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"X-Hub-Signature-256": f"sha256={sign(body)}", "X-GitHub-Delivery": delivery, "X-GitHub-Event": "push"}
    return client.post("/hooks/deploy", content=body, headers={**headers, **more})


def stripe(client: httpx.Client, content: Any, at: float | None = None) -> httpx.Response:
    body = json.dumps(content).encode()
    now = int(time.time() if at is None else at)
    value = f"t={now},v1={sign(b'%d.' % now + body)}"
    return client.post("/hooks/paid", content=body, headers={"Stripe-Signature": value})


def bearer(client: httpx.Client, job: str, content: Any, token: str = SECRET, **more: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", **more}
    return client.post(f"/hooks/{job}", content=json.dumps(content).encode(), headers=headers)


def runs(project: Project, job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.cli("runs", "--job", job, "--limit", "1000", "--json").check().json
    return found


def test_a_delivery_of_github(client: httpx.Client, project: Project) -> None:
    content = {"ref": "refs/heads/main", "commits": [{"id": "abc"}]}
    made = github(client, content, "d-1")
    assert made.status_code == 201
    run = project.document(made.json()["id"])
    assert run["params"] == {"branch": "refs/heads/main", "event": "push", "commit": "abc"}
    assert (run["trigger"], run["submitted_by"], run["key"]) == ("webhook", "webhook:github", "webhook:d-1")
    acts = project.cli("audit", "--json").check().json
    assert ("submit", "webhook:github", run["id"]) in [(act["act"], act["by"], act["id"]) for act in acts]


def test_a_delivery_of_stripe(client: httpx.Client, project: Project) -> None:
    event = {"id": "evt_1", "type": "payment_intent.succeeded"}
    made = stripe(client, event)
    assert made.status_code == 201
    assert project.document(made.json()["id"])["params"] == {"event": event}


def test_a_token_of_its_own(client: httpx.Client, project: Project) -> None:
    assert bearer(client, "plain", {"n": 1}).status_code == 201
    assert bearer(client, "plain", {"n": 1}).status_code == 201
    first = bearer(client, "plain", {"n": 2}, **{"Idempotency-Key": "k-1"})
    again = bearer(client, "plain", {"n": 2}, **{"Idempotency-Key": "k-1"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


def test_a_delivery_that_is_sent_again_makes_no_second_run(client: httpx.Client, project: Project) -> None:
    content = {"ref": "again"}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: github(client, content, "replayed"), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    [run_id] = {answer.json()["id"] for answer in answers}
    project.cli("revoke", run_id).check()
    project.cli("forget", run_id).check()
    assert github(client, content, "replayed").status_code != 201
    assert not [run for run in runs(project, "deploy") if run["params"]["branch"] == "again"]


def test_the_id_of_a_delivery_is_used_for_another_body(client: httpx.Client, project: Project) -> None:
    assert github(client, {"ref": "one"}, "twice").status_code == 201
    assert github(client, {"ref": "two"}, "twice").status_code == 422
    assert not [run for run in runs(project, "deploy") if run["params"]["branch"] == "two"]


def test_old_and_future_times_are_refused(client: httpx.Client, project: Project) -> None:
    before = len(runs(project, "paid"))
    for at in (time.time() - 400, time.time() + 400):
        refused = stripe(client, {"id": f"evt_{at}"}, at)
        assert refused.status_code in (401, 429)
    assert len(runs(project, "paid")) == before


def test_wrong_signatures_make_nothing_and_are_kept_in_the_audit_log(project: Project) -> None:
    with (
        serving(project, "--host", "127.0.0.1") as web,
        web.client(headers={"Content-Type": "application/json"}) as client,
    ):
        before = len(runs(project, "deploy"))
        statuses = [
            github(client, {"ref": "x"}, f"w{number}", **{"X-Hub-Signature-256": f"sha256={number:064x}"}).status_code
            for number in range(30)
        ]
        assert set(statuses) == {401, 429}
        assert statuses[0] == 401
        assert SECRET not in web.process.stderr
        # Whoever has the secret is not shut out by others.
        assert github(client, {"ref": "x"}, "after").status_code == 201
        assert len(runs(project, "deploy")) == before + 1
    acts = project.cli("audit", "--json").check().json
    assert "failed-login" in {act["act"] for act in acts}


def test_a_token_of_a_webhook_opens_nothing_else(client: httpx.Client) -> None:
    for path in ("/api/v1/runs", "/hooks/../api/v1/runs", "/hooks/greet", "/hooks/none-of-these"):
        answer = client.get(path, headers={"Authorization": f"Bearer {SECRET}"})
        assert answer.status_code in (401, 404, 405), path
    assert bearer(client, "greet", {}).status_code == bearer(client, "none-of-these", {}).status_code == 404


def test_huge_and_broken_bodies(client: httpx.Client, project: Project) -> None:
    before = len(runs(project, "deploy"))
    assert github(client, b"[" + b"1," * 600_000 + b"1]", "huge").status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * 65536

    try:
        refused = client.post("/hooks/deploy", content=chunks())
        assert refused.status_code == 413
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        pass  # the connection was closed on what was too much
    for number, body in enumerate((b"", b"{", b'{"ref": 1, "ref": 2}', b"\xff", b"[" * 100_000)):
        assert github(client, body, f"broken-{number}").status_code == 422
    assert github(client, {"ref": 5}, "typed").status_code == 422
    assert github(client, {"no": "ref"}, "missing").status_code == 422
    assert github(client, {"ref": "x"}, "form", **{"Content-Type": "text/plain"}).status_code == 415
    assert github(client, {"ref": "x"}, "no plain id").status_code == 400
    assert len(runs(project, "deploy")) == before


def test_a_page_of_another_site_cannot_use_a_reader_s_browser(client: httpx.Client) -> None:
    answer = bearer(client, "plain", {"n": 1}, **{"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_jobs_that_take_no_runs_now(client: httpx.Client, project: Project) -> None:
    assert bearer(client, "off", {}).status_code == 409
    project.cli("pause", "plain").check()
    assert bearer(client, "plain", {"n": 1}).status_code == 409
    project.cli("resume", "plain").check()
    answer = bearer(client, "no-secret", {})
    assert answer.status_code == 503
    assert "NOT_SET" not in answer.text


def test_an_empty_secret_lets_nobody_in(client: httpx.Client) -> None:
    answer = client.post("/hooks/empty-token", content=b"{}", headers={"Authorization": "Bearer"})
    assert answer.status_code == 503
    forged = hmac.new(b"", b"{}", hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={forged}", "X-GitHub-Delivery": "d-empty"}
    assert client.post("/hooks/empty-key", content=b"{}", headers=headers).status_code == 503


def test_an_edit_of_the_job_counts_without_a_restart(client: httpx.Client, project: Project) -> None:
    project.write({"jobs.d/late.yaml": json.dumps({"jobs": {"late": {**JOBS["plain"]}}})})
    wait_until(lambda: bearer(client, "late", {"n": 3}).status_code == 201, 30.0, "the new job")
