"""The REST API: the documents and errors of the command line."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.deadline import wait_until
from tests.web.conftest import Web

API = "/api/v1"


def finished(client: httpx.Client, run_id: str) -> dict[str, Any]:
    def ended() -> dict[str, Any] | None:
        run: dict[str, Any] = client.get(f"{API}/runs/{run_id}").json()
        return run if run["finished_at"] else None

    found = wait_until(ended, 60.0, "the run ends")
    assert found
    return dict(found)


def test_a_run_is_submitted_and_its_document_is_that_of_the_command_line(web: Web, client: httpx.Client) -> None:
    made = client.post(f"{API}/jobs/greet/runs", json={"params": {"name": "Ann"}})
    assert made.status_code == 201
    document = made.json()
    assert made.headers["Location"] == f"{API}/runs/{document['id']}"
    assert (document["trigger"], document["submitted_by"], document["duplicate"]) == ("api", "local", False)
    run = finished(client, document["id"])
    assert run["result"] == "hello Ann"
    assert run == web.project.document(document["id"])
    log = client.get(f"{API}/runs/{document['id']}/log").json()["lines"]
    assert [line["text"] for line in log] == ["hello Ann"]


def test_an_idempotency_key_makes_one_run(client: httpx.Client) -> None:
    answers = [client.post(f"{API}/jobs/greet/runs", headers={"Idempotency-Key": "k1"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = client.post(f"{API}/jobs/greet/runs", headers={"Idempotency-Key": "k1"}, json={"params": {"name": "x"}})
    assert other.status_code == 422
    assert other.json()["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "exit_code"),
    [
        ("GET", "/runs/no-such-run-at-all", None, 404, "unknown_run", 4),
        ("POST", "/jobs/nope/runs", None, 404, "unknown_job", 2),
        ("POST", "/jobs/greet/runs", {"params": {"nmae": 1}}, 422, "invalid_params", 2),
        ("POST", "/jobs/greet/runs", {"prams": {}}, 422, "usage", 2),
        ("POST", "/jobs/greet/runs", {"delay": "10"}, 422, "usage", 2),
        ("POST", "/jobs/off/runs", None, 409, "job_disabled", 5),
        ("GET", "/runs?state=DONE", None, 422, "usage", 2),
        ("GET", "/runs?cursor=x", None, 422, "usage", 2),
        ("GET", "/nothing", None, 404, "http", 2),
    ],
)
def test_errors_have_the_shape_of_the_command_line(
    client: httpx.Client, method: str, path: str, body: Any, status: int, code: str, exit_code: int
) -> None:
    answer = client.request(method, API + path, json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["exit_code"]) == (code, exit_code)
    assert error["message"]


def test_revoke_rerun_and_forget(web: Web, client: httpx.Client, tmp_path: Path) -> None:
    run = client.post(f"{API}/jobs/gated/runs", json={"params": {"gate": str(tmp_path / "gate")}}).json()
    wait_until(lambda: client.get(f"{API}/runs/{run['id']}").json()["state"] == "STARTED", 30.0, "it starts")
    assert client.delete(f"{API}/runs/{run['id']}").status_code == 409
    client.post(f"{API}/runs/{run['id']}/revoke", json={"terminate": True, "comment": "enough"})
    ended = finished(client, run["id"])
    assert (ended["reason"], ended["revocation"]["by"]) == ("terminated", "local")
    (tmp_path / "gate").touch()
    again = client.post(f"{API}/runs/{run['id']}/rerun")
    assert (again.status_code, again.json()["rerun_of"]) == (201, run["id"])
    assert finished(client, again.json()["id"])["state"] == "SUCCESS"
    assert client.delete(f"{API}/runs/{run['id']}").status_code == 204
    assert client.get(f"{API}/runs/{run['id']}").status_code == 404
    acts = {(act["act"], act["by"]) for act in web.project.cli("audit", "--json").check().json}
    assert {("submit", "local"), ("terminate", "local"), ("rerun", "local"), ("forget", "local")} <= acts


def test_pages_of_runs_follow_each_other(client: httpx.Client) -> None:
    made = [client.post(f"{API}/jobs/scheduled/runs").json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query = {"job": "scheduled", "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"{API}/runs", params=query).json()
        seen += [run["id"] for run in page["runs"]]
        cursor = page["cursor"]
        if cursor is None:
            break
    assert seen == list(reversed(made))


def test_a_paused_job_refuses(client: httpx.Client) -> None:
    held = client.post(f"{API}/jobs/scheduled/pause", json={"comment": "moving"}).json()
    assert (held["by"], held["comment"]) == ("local", "moving")
    refused = client.post(f"{API}/jobs/scheduled/runs")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_paused")
    assert client.post(f"{API}/jobs/scheduled/resume").json() == {"resumed": True}
    assert client.post(f"{API}/jobs/scheduled/runs").status_code == 201


def events(response: httpx.Response, until: str) -> list[tuple[str, str, Any]]:
    """Read server-sent events until one of a kind, or of a state."""
    found = []
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif fields.get("event"):
            data = json.loads(fields["data"])
            found.append((fields.get("id", ""), fields["event"], data))
            if fields["event"] == until or (isinstance(data, dict) and data.get("state") == until):
                return found
            fields = {}
    return found


def test_events_are_followed_and_resumed(web: Web, client: httpx.Client) -> None:
    run = client.post(f"{API}/jobs/greet/runs", json={"delay": "1s"}).json()
    with web.client() as other, other.stream("GET", f"{API}/events", params={"run": run["id"], "after": "0"}) as told:
        first = events(told, "SUCCESS")
    assert [data["state"] for _, kind, data in first if kind == "run"] == ["PENDING", "STARTED", "SUCCESS"]
    last_seen = first[0][0]
    with (
        web.client() as other,
        other.stream("GET", f"{API}/events", params={"run": run["id"]}, headers={"Last-Event-ID": last_seen}) as told,
    ):
        rest = events(told, "SUCCESS")
    assert [data["state"] for _, _, data in rest] == ["STARTED", "SUCCESS"]


def test_a_log_is_followed_to_its_end(web: Web, client: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = client.post(f"{API}/jobs/gated/runs", json={"params": {"gate": str(gate)}}).json()
    found: list[Any] = []

    def read() -> None:
        with web.client() as other, other.stream("GET", f"{API}/runs/{run['id']}/log/stream") as told:
            found.extend(events(told, "end"))

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: client.get(f"{API}/runs/{run['id']}/log").json()["lines"], 30.0, "its first line comes")
    gate.touch()
    reader.join(60.0)
    lines = [line["text"] for _, kind, data in found if kind == "lines" for line in data]
    assert lines == ["waiting for the gate", "through the gate"]


def test_health(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
