"""Times and numbers at their ends: whatever they are, they are taken or refused; nothing ends in a 500."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.web.conftest import Web

MOMENTS = (
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59Z",
    "9999-12-31",
    "9999-12-31 23:59:59",
    "0001-01-01",
    "0001-01-01T00:00:00Z",
    "1969-12-31T23:59:59.999Z",
    "3650d",
    "3651d",
    "9" * 60 + "d",
    "0s",
    "0.0001ms",
    "99:99",
    "24:00",
    "00:00:60",
    "2026-02-30",
    "2026-W01-1",
    "20261124T020000",
    "-1",
    "1e400",
    "NaN",
    "٢:٠٠",
    "٢s",
    "²s",
)
NUMBERS = ("0", "-1", "1e400", "9" * 400, "NaN", "Infinity", "1.5", "٢", "²", "0x10", "")

QUERIES = (
    *("/api/v1/runs?since={}", "/api/v1/runs?until={}", "/runs?since={}", "/runs?until={}"),
    *("/api/v1/upcoming?from={}", "/api/v1/upcoming?to={}", "/api/v1/upcoming?from=2026-01-01&to={}"),
    *("/api/v1/audit?since={}", "/schedule?day={}", "/schedule/{}"),
)
COUNTS = (
    *("/api/v1/runs?limit={}", "/api/v1/upcoming?limit={}", "/api/v1/audit?limit={}", "/jobs?start={}"),
    *("/api/v1/runs?cursor={}", "/runs?cursor={}", "/api/v1/events?after={}", "/schedule/{}"),
)


@pytest.mark.parametrize("path", QUERIES)
def test_a_moment_is_taken_or_refused(client: httpx.Client, path: str) -> None:
    for text in MOMENTS:
        answer = client.get(path.format(quote(text, safe="")))
        assert answer.status_code in (200, 303, 404, 422), (path, text, answer.text[:300])


def test_a_moment_in_a_log_is_taken_or_refused(web: Web, client: httpx.Client) -> None:
    run_id = web.project.cli("submit", "greet", "--wait").check().id
    for text in MOMENTS:
        answer = client.get(f"/api/v1/runs/{run_id}/log", params={"since": text})
        assert answer.status_code in (200, 422), (text, answer.text[:300])


@pytest.mark.parametrize("path", COUNTS)
def test_a_number_is_taken_or_refused(client: httpx.Client, path: str) -> None:
    for text in NUMBERS:
        with client.stream("GET", path.format(quote(text, safe=""))) as answer:
            assert answer.status_code in (200, 303, 404, 422), (path, text)


@pytest.mark.parametrize("field", ["at", "in", "delay", "expires", "priority"])
def test_a_submission_takes_or_refuses_them(client: httpx.Client, field: str) -> None:
    values: list[Any] = [*MOMENTS, *NUMBERS, 0, -1, 10**400, 1e308, True, None, [], {}]
    for value in values:
        answer = client.post("/api/v1/jobs/greet/runs", json={field: value})
        assert answer.status_code in (200, 201, 422), (field, value, answer.text[:300])


@pytest.mark.parametrize("text", MOMENTS)
def test_a_pause_takes_or_refuses_them(client: httpx.Client, text: str) -> None:
    try:
        answer = client.post("/api/v1/jobs/off/pause", json={"duration": text})
        assert answer.status_code in (200, 422), answer.text[:300]
        assert client.get("/jobs/off").status_code == 200
    finally:
        client.post("/api/v1/jobs/off/resume")


LARGE = {
    "400 digits": "9" * 400,
    "400 digits, negative": "-" + "9" * 400,
    "5000 digits": "9" * 5000,
    "the largest float": "1.7976931348623157e308",
    "the smallest float": "5e-324",
    "beyond floats": "1e400",
    "half": "0.5",
    "a tenth three times": "0.3",
}


@pytest.mark.parametrize("field", ["half", "tenth", "seventh", "bounded", "whole", "counted", "chosen"])
@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_a_param_takes_or_refuses_large_and_small_numbers(client: httpx.Client, field: str, text: str) -> None:
    body = f'{{"params": {{"{field}": {text}}}}}'
    answer = client.post("/api/v1/jobs/numbers/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (201, 422), answer.text[:300]
    if field == "tenth" and text == "0.3":
        assert answer.status_code == 201
    form = client.get("/jobs/numbers")
    assert form.status_code == 200
    csrf = form.text.partition('name="csrf" value="')[2].partition('"')[0]
    typed = client.post("/jobs/numbers/submit", data={"csrf": csrf, f"param-{field}": text})
    assert typed.status_code in (303, 422), typed.text[:300]
    assert (typed.status_code == 303) == (answer.status_code == 201)
