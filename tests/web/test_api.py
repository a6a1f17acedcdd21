"""The REST API: the documents and errors of the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

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
        ("POST", "/jobs/greet/runs", {"delay": "1s", "at": "23:00"}, 422, "usage", 2),
        ("POST", "/jobs/greet/runs", {"at": "2001-01-01"}, 422, "usage", 2),
        ("POST", "/runs/@greet/revoke", None, 422, "usage", 2),
        ("POST", "/runs/0000000000/revoke", {"signal": "TERM"}, 422, "usage", 2),
        ("POST", "/runs/0000000/rerun", None, 404, "unknown_run", 4),
        ("GET", "/runs/0000000000/why", None, 404, "unknown_run", 4),
        ("GET", "/runs/0000000000/log", None, 404, "unknown_run", 4),
        ("GET", "/runs/0000000000/log/stream", None, 404, "unknown_run", 4),
        ("GET", "/events?run=0000000000", None, 404, "unknown_run", 4),
        ("GET", "/events?job=nope", None, 404, "unknown_job", 2),
        ("GET", "/events?after=x", None, 422, "usage", 2),
        ("GET", "/jobs/nope", None, 404, "unknown_job", 2),
        ("GET", "/jobs/nope/stats", None, 404, "unknown_job", 2),
        ("GET", "/upcoming?job=nope", None, 404, "unknown_job", 2),
        ("GET", "/upcoming?from=x", None, 422, "usage", 2),
        ("GET", "/audit?act=look", None, 422, "usage", 2),
        ("GET", "/runs?job=nope", None, 404, "unknown_job", 2),
        ("GET", "/runs?reason=bored", None, 422, "usage", 2),
        ("GET", "/runs?sort=longest&cursor=1:a", None, 422, "usage", 2),
        ("GET", "/runs?since=never", None, 422, "usage", 2),
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
    assert error.keys() == {"code", "message", "hint", "exit_code"}
    assert error["hint"] is None or error["hint"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "valid dictionary"),
        (b'"text"', "valid dictionary"),
        (b'{"params": {"name": "a", "name": "b"}}', "'name' is given twice"),
        (b'{"params": {"name": NaN}}', "NaN is not a JSON value"),
        (b'{"params": {"name": 1e999}}', "Out of range"),
        (b'{"params": {"name": "\\ud800"}}', "half of a surrogate pair"),
        (b'{"params": {"name": "\xff"}}', "not UTF-8"),
        (b'{"params": {"name": ' + b"[" * 900 + b"]" * 900 + b"}}", "nested more than 64 levels deep"),
        (b'{"params": {"name": ' + b"9" * 5000 + b"}}", "digits"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
    ],
)
def test_a_body_that_is_no_json_says_why(client: httpx.Client, body: bytes, words: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post(f"{API}/jobs/greet/runs", content=body, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["exit_code"]) == (422, "usage", 2)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"{API}/runs/00000000", "DELETE, GET, HEAD"),
        ("OPTIONS", f"{API}/runs", "GET, HEAD"),
        ("GET", f"{API}/jobs/greet/runs", "POST"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("PATCH", "/jobs/greet", "GET, HEAD"),
        ("POST", "/static/live.js", "GET, HEAD"),
    ],
)
def test_what_a_path_can_do_is_told(client: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_the_head_alone_can_be_had(client: httpx.Client) -> None:
    for path in ("/", "/healthz", f"{API}/runs", f"{API}/jobs/greet", "/static/live.js", f"{API}/events"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert client.head(f"{API}/runs/00000000").status_code == 404


def test_an_idempotency_key_makes_one_run_however_many_ask_at_once(web: Web) -> None:
    def ask(_: int) -> tuple[int, str]:
        with web.client() as client:
            answer = client.post(f"{API}/jobs/greet/runs", headers={"Idempotency-Key": "at-once"})
            return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(32)))
    assert sorted(status for status, _ in answers) == [200] * 31 + [201]
    assert len({run_id for _, run_id in answers}) == 1


def test_a_rerun_whose_answer_was_lost_is_asked_for_again(client: httpx.Client) -> None:
    run = client.post(f"{API}/jobs/greet/runs").json()
    finished(client, run["id"])
    again = [client.post(f"{API}/runs/{run['id']}/rerun", headers={"Idempotency-Key": "again"}) for _ in range(2)]
    assert [answer.status_code for answer in again] == [201, 200]
    assert again[0].json()["id"] == again[1].json()["id"] != run["id"]
    assert again[0].headers["Location"] == again[1].headers["Location"]


def test_a_run_starts_when_it_is_told_to(client: httpx.Client) -> None:
    run = client.post(f"{API}/jobs/greet/runs", json={"at": "2099-01-01T00:00:00Z"}).json()
    assert (run["state"], run["eta"]) == ("PENDING", "2099-01-01T00:00:00.000Z")
    revoked = client.post(f"{API}/runs/{run['id'][:13]}/revoke").json()
    assert (revoked["id"], revoked["state"]) == (run["id"], "REVOKED")


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
    acts = client.get(f"{API}/audit", params={"id": run["id"]}).json()["acts"]
    assert [(act["act"], act["by"]) for act in acts] == [(a, "local") for a in ("forget", "terminate", "submit")]
    assert acts == web.project.cli("audit", "--json", "--id", run["id"]).check().json
    assert "rerun" in {
        act["act"] for act in client.get(f"{API}/audit", params={"id": again.json()["id"]}).json()["acts"]
    }


def test_pages_of_runs_follow_each_other(client: httpx.Client) -> None:
    made = [client.post(f"{API}/jobs/scheduled/runs").json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        query: dict[str, Any] = {"job": "scheduled", "limit": 2} | ({"cursor": cursor} if cursor else {})
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


def test_no_run_is_left_out_or_shown_twice_while_others_are_added(client: httpx.Client) -> None:
    def submit() -> str:
        return str(client.post(f"{API}/jobs/paged/runs").json()["id"])

    before = [submit() for _ in range(12)]
    for sort, expected in (("newest", before[::-1]), ("oldest", before)):
        seen: list[str] = []
        cursor: str | None = None
        added = 0
        while True:
            query: dict[str, Any] = {"job": "paged", "limit": 5, "sort": sort} | ({"cursor": cursor} if cursor else {})
            page = client.get(f"{API}/runs", params=query).json()
            seen += [run["id"] for run in page["runs"]]
            cursor = page["cursor"]
            if cursor is None:
                break
            if added < 6:
                submit()
                added += 1
        assert len(set(seen)) == len(seen)
        assert [run_id for run_id in seen if run_id in before] == expected


def test_runs_are_found_by_all_that_the_command_line_asks_for(web: Web, client: httpx.Client) -> None:
    key = {"Idempotency-Key": "found"}
    good = finished(client, client.post(f"{API}/jobs/greet/runs", headers=key).json()["id"])
    bad = finished(client, client.post(f"{API}/jobs/fails/runs").json()["id"])
    since = good["submitted_at"]
    for query, words, expected in (
        ({"key": "found"}, ["--key", "found"], good),
        ({"worker": good["worker"], "job": "greet"}, ["--worker", good["worker"], "--job", "greet"], good),
        ({"tag": "demo", "since": since}, ["--tag", "demo", "--since", since], good),
        ({"reason": "exception", "state": "failure"}, ["--reason", "exception", "--state", "failure"], bad),
        ({"text": "ALERT('error", "job": "fails"}, ["--grep", "ALERT('error", "--job", "fails"], bad),
        ({"sort": "oldest", "since": since}, ["--sort", "oldest", "--since", since], good),
        ({"sort": "longest", "since": since}, ["--sort", "longest", "--since", since], bad),
        ({"until": bad["submitted_at"], "limit": 500}, ["--until", bad["submitted_at"], "--limit", "500"], bad),
    ):
        found = client.get(f"{API}/runs", params=query).json()["runs"]
        assert expected["id"] in [run["id"] for run in found]
        assert found == web.project.cli("runs", "--json", "--limit", "50", *words).check().json


class Contract:
    """Answers of GET, held against the OpenAPI document."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.document = client.get(f"{API}/openapi.json").json()

    def get(self, path: str, template: str, **params: Any) -> Any:
        answer = self.client.get(API + path, params=params)
        assert answer.status_code == 200, answer.text
        media_type = self.document["paths"][API + template]["get"]["responses"]["200"]["content"]["application/json"]
        schema = {**media_type["schema"], "components": self.document["components"]}
        Draft202012Validator(schema).validate(answer.json())
        return answer.json()


def test_lists_are_those_of_the_command_line_and_as_described(web: Web, client: httpx.Client) -> None:
    cli = web.project.cli
    api = Contract(client)
    bad = finished(client, client.post(f"{API}/jobs/fails/runs").json()["id"])["id"]
    client.post(f"{API}/jobs/off/pause", json={"comment": "moving"})
    assert api.get("/jobs", "/jobs")["jobs"] == cli("jobs", "--json").check().json
    assert api.get("/jobs/off", "/jobs/{job}") == cli("jobs", "off", "--json").check().json
    assert api.get("/jobs/off", "/jobs/{job}")["paused"]["comment"] == "moving"
    client.post(f"{API}/jobs/off/resume")
    api.get("/runs", "/runs")
    assert api.get("/runs/@fails", "/runs/{reference}")["id"] == bad
    assert api.get(f"/runs/{bad[:9]}", "/runs/{reference}") == web.project.document(bad)
    assert api.get(f"/runs/{bad}/why", "/runs/{reference}/why") == cli("why", bad, "--json").check().json
    lines = cli("logs", bad, "--jsonl").check().stdout.splitlines()
    assert api.get(f"/runs/{bad}/log", "/runs/{reference}/log")["lines"] == [json.loads(line) for line in lines]
    assert api.get("/jobs/fails/stats", "/jobs/{job}/stats") == cli("stats", "fails", "--json").check().json
    assert api.get("/stats", "/stats")["stats"] == cli("stats", "--json").check().json
    acts = api.get("/audit", "/audit", job="fails")["acts"]
    assert acts == cli("audit", "--json", "--limit", "50", "--job", "fails").check().json
    window = {"from": "2030-01-01", "to": "2030-01-02"}
    upcoming = api.get("/upcoming", "/upcoming", **window)["upcoming"]
    assert len(upcoming) == 24
    slots = cli("upcoming", "--json", "--from", "2030-01-01", "--to", "2030-01-02", "--limit", "50").check().json
    assert upcoming == slots
    assert api.get("/upcoming", "/upcoming", limit=1)["upcoming"]
    assert [queue["name"] for queue in api.get("/queues", "/queues")["queues"]] == [
        queue["name"] for queue in cli("queues", "--json").check().json
    ]
    changing = {"seen_at", "running", "concurrency"}
    ours, theirs = api.get("/workers", "/workers")["workers"], cli("workers", "--json").check().json
    assert [{k: v for k, v in worker.items() if k not in changing} for worker in ours] == [
        {k: v for k, v in worker.items() if k not in changing} for worker in theirs
    ]
    assert ours


def test_a_backfill(web: Web, client: httpx.Client) -> None:
    asked: dict[str, Any] = {"from": "2020-01-01", "to": "2024-12-31", "at_once": 1}
    dry = client.post(f"{API}/jobs/leap-day/backfills", json={**asked, "dry_run": True}).json()
    assert ([slot["slot"][:10] for slot in dry["slots"]], dry["submitted"]) == (["2020-02-29", "2024-02-29"], 0)
    made = client.post(f"{API}/jobs/leap-day/backfills", json=asked).json()
    assert (made["submitted"], made["skipped"]) == (2, 0)
    again = client.post(f"{API}/jobs/leap-day/backfills", json=asked).json()
    assert (again["submitted"], again["skipped"]) == (0, 2)
    assert set(again) == set(dry)
    runs = client.get(f"{API}/runs", params={"backfill": made["id"]}).json()["runs"]
    assert {run["id"] for run in runs} == {slot["id"] for slot in made["slots"]}
    for run in runs:
        finished(client, run["id"])
    backfills = Contract(client).get("/backfills", "/backfills")["backfills"]
    assert backfills == web.project.cli("backfills", "--json").check().json
    assert (backfills[0]["id"], backfills[0]["SUCCESS"], backfills[0]["unfinished"]) == (made["id"], 2, 0)
    revoked = client.post(f"{API}/backfills/{made['id'][:8]}/revoke").json()
    assert (revoked["SUCCESS"], revoked["revoked"]) == (2, True)
    assert client.post(f"{API}/backfills/00000000/revoke").status_code == 404
    assert client.post(f"{API}/jobs/greet/backfills", json=asked).status_code == 422
    page = client.get("/runs", params={"backfill": made["id"]})
    assert page.text.count('href="/jobs/leap-day"') >= 2


def test_webhooks_are_described(client: httpx.Client) -> None:
    document = client.get(f"{API}/openapi.json").json()
    operation = document["paths"]["/hooks/{job}"]["post"]
    named = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert named["job"]["required"]
    assert {"X-Hub-Signature-256", "X-GitHub-Delivery", "Stripe-Signature", "Idempotency-Key"} < set(named)
    assert operation["requestBody"]["required"]
    assert operation["security"] == []  # a token of a person does not help there
    for status in ("200", "201"):
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        checked = Draft202012Validator({**schema, "components": document["components"]})
        assert checked.is_valid({"id": "x", "duplicate": True})
        assert not checked.is_valid({"id": "x"})


def test_every_error_has_the_shape_that_is_described(client: httpx.Client) -> None:
    document = client.get(f"{API}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if not status.startswith("2"):
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method, status)


@contextmanager
def following(web: Web, path: str = "/events", last: str | None = None, **params: str) -> Iterator[httpx.Response]:
    """Follow server-sent events on a connection of their own."""
    headers = {"Last-Event-ID": last} if last is not None else {}
    with web.client() as client, client.stream("GET", API + path, params=params, headers=headers) as response:
        assert response.status_code == 200
        yield response


def events(response: httpx.Response, until: str) -> list[tuple[str, str, Any]]:
    """Read server-sent events until one of a kind or a state, or until one with only an id."""
    found = []
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            data = json.loads(fields["data"])
            found.append((fields["id"], fields["event"], data))
            if fields["event"] == until or (isinstance(data, dict) and data.get("state") == until):
                return found
        elif until == "id" and "id" in fields:
            return [*found, (fields["id"], "", None)]
        fields = {}
    return found


def test_events_are_followed_and_resumed(web: Web, client: httpx.Client) -> None:
    run = client.post(f"{API}/jobs/greet/runs", json={"delay": "1s"}).json()
    with following(web, run=run["id"][:12], after="0") as response:
        first = events(response, "SUCCESS")
    assert [data["state"] for _, kind, data in first if kind == "run"] == ["PENDING", "STARTED", "SUCCESS"]
    with following(web, last=first[0][0], run=run["id"]) as response:
        rest = events(response, "SUCCESS")
    assert [data["state"] for _, _, data in rest] == ["STARTED", "SUCCESS"]


def test_who_has_seen_no_event_yet_misses_none_either(web: Web, client: httpx.Client) -> None:
    with following(web, job="scheduled") as response:
        event_id = events(response, "id")[-1][0]
    run = client.post(f"{API}/jobs/scheduled/runs").json()
    finished(client, run["id"])
    with following(web, last=event_id, job="scheduled") as response:
        states = [data["state"] for _, _, data in events(response, "SUCCESS")]
    assert states == ["PENDING", "STARTED", "SUCCESS"]


def test_more_events_than_wait_for_a_browser_come_all_after_a_reconnection(web: Web, client: httpx.Client) -> None:
    with following(web) as response:
        event_id = events(response, "id")[-1][0]
    stream = f"{web.project.namespace}:events"
    redis = web.project.redis()
    fields: dict[Any, Any] = {"job": "many", "state": "STARTED", "reason": "", "attempt": "1"}
    with redis.pipeline(transaction=False) as pipe:
        for number in range(3000):
            pipe.xadd(stream, {**fields, "id": f"many-{number}"})
        pipe.xadd(stream, {**fields, "id": "many-last", "state": "SUCCESS"})
        pipe.execute()
    redis.close()
    with following(web, last=event_id) as response:
        found = [data["id"] for _, _, data in events(response, "SUCCESS") if data["job"] == "many"]
    assert found == [*(f"many-{number}" for number in range(3000)), "many-last"]


def test_events_that_are_not_kept_are_told_of(web: Web) -> None:
    with following(web, last="1-1") as response:
        [(event_id, kind, data)] = events(response, "restart")
    assert (kind, data["after"]) == ("restart", "1-1")
    assert event_id == data["before"]
    with following(web, last="nonsense") as response:
        assert events(response, "restart")[-1][1] == "restart"


def test_many_who_come_back_at_once_keep_nobody_waiting(web: Web, client: httpx.Client) -> None:
    with following(web) as response:
        event_id = events(response, "id")[-1][0]
    with ThreadPoolExecutor(60) as pool:
        opened = threading.Barrier(61, timeout=60.0)
        done = threading.Event()

        def come_back() -> None:
            with following(web, last=event_id) as again:
                events(again, "id")
                opened.wait()
                done.wait(60.0)

        those = [pool.submit(come_back) for _ in range(60)]
        try:
            opened.wait()
            # Threads that answer requests are not those that wait for events.
            assert client.get("/healthz", timeout=30.0).status_code == 200
        finally:
            done.set()
        for future in those:
            future.result(60.0)


def test_a_log_is_followed_to_its_end(web: Web, client: httpx.Client, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = client.post(f"{API}/jobs/gated/runs", json={"params": {"gate": str(gate)}}).json()
    found: list[Any] = []

    def read() -> None:
        with following(web, f"/runs/{run['id']}/log/stream") as response:
            found.extend(events(response, "end"))

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: client.get(f"{API}/runs/{run['id']}/log").json()["lines"], 30.0, "its first line comes")
    gate.touch()
    reader.join(60.0)
    lines = [line["text"] for _, kind, data in found if kind == "lines" for line in data]
    assert lines == ["waiting for the gate", "through the gate"]
    with following(web, f"/runs/{run['id']}/log/stream", last=found[0][0]) as response:
        rest = events(response, "end")
    # Each is a chunk, or more of them; what is asked for is what came after the first.
    assert rest == found[1:]


def test_a_log_that_is_gone_on_with_has_no_gap(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "chatty", "--wait").check().id
    path = f"{API}/runs/{run_id}/log/stream"
    with web.client() as other, other.stream("GET", path) as response:
        whole = events(response, "end")
    with web.project.ledger().client as redis:
        chunks = redis.xrange(f"{web.project.namespace}:log:{run_id}")
    assert len(chunks) > 1
    with web.client() as other, other.stream("GET", path, headers={"Last-Event-ID": chunks[0][0]}) as response:
        rest = events(response, "end")
    first = len(json.loads(chunks[0][1]["t"]))
    lines = [[line["text"] for _, kind, data in found if kind == "lines" for line in data] for found in (whole, rest)]
    assert lines[0] == [f"line {number} 路" for number in range(3000)]
    assert lines[1] == lines[0][first:]


def test_health(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
