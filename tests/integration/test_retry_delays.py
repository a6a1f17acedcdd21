"""The delays between attempts that a worker really made, against the policy's figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest

from runner.model.retry import RetryPolicy
from tests.support.project import Project

WORK = """
import time
from runner import current_run

def fail():
    with open("attempts", "a") as file:
        file.write(f"{current_run().attempt} {time.time()}\\n")
    raise ConnectionError("down")
"""

LATE = 0.75
"""Seconds that a start may be later than planned on a busy machine. Earlier it may not be."""


def attempts(project: Project) -> list[float]:
    lines = (project.path / "attempts").read_text().split("\n")
    return [float(line.split()[1]) for line in lines if line]


def run(make_project: Callable[..., Project], retry: dict[str, Any], **job: Any) -> tuple[list[float], dict[str, Any]]:
    """Run a job that always fails; return the seconds between its starts, and its document."""
    project = make_project({"fail": {"task": "work:fail", "retry": retry, **job}}, {"work.py": WORK})
    with project.worker(concurrency=1):
        done = project.cli("submit", "fail", "--wait", "--json", timeout=90.0).check(1)
    started = attempts(project)
    return [late - early for early, late in pairwise(started)], done.json


POLICIES = [
    ({"max_retries": 3, "delay": "700ms", "backoff": "constant"}, [0.7, 0.7, 0.7]),
    ({"max_retries": 3, "delay": "600ms", "backoff": "linear"}, [0.6, 1.2, 1.8]),
    ({"max_retries": 4, "delay": "400ms", "backoff": "exponential"}, [0.4, 0.8, 1.6, 3.2]),
    ({"max_retries": 4, "delay": "500ms", "backoff": "exponential", "max_delay": "1200ms"}, [0.5, 1.0, 1.2, 1.2]),
]


@pytest.mark.parametrize(("retry", "delays"), POLICIES, ids=["constant", "linear", "exponential", "cap"])
def test_a_worker_keeps_the_delays(
    make_project: Callable[..., Project], retry: dict[str, Any], delays: list[float]
) -> None:
    gaps, document = run(make_project, {**retry, "jitter": False})
    assert len(gaps) == len(delays), gaps
    for gap, delay in zip(gaps, delays, strict=True):
        assert delay - 0.005 <= gap <= delay + LATE, f"{gaps} against {delays}"
    assert (document["attempts"], document["retries"], document["losses"]) == (len(delays) + 1, len(delays), 0)
    assert (document["state"], document["reason"]) == ("FAILURE", "exception")


def test_jitter_stays_within_its_bounds(make_project: Callable[..., Project]) -> None:
    retry = {"max_retries": 4, "delay": "2s", "backoff": "constant", "jitter": True}
    gaps, _ = run(make_project, retry)
    assert len(gaps) == 4
    assert all(1.0 - 0.005 <= gap <= 2.0 + LATE for gap in gaps), gaps
    assert len({round(gap, 3) for gap in gaps}) > 1, f"no jitter in {gaps}"


def test_the_policy_itself_says_these_figures() -> None:
    policy = RetryPolicy(max_retries=4, delay=0.5, backoff="exponential", max_delay=1.2, jitter=False)
    assert [policy.delay_before(retry) for retry in (1, 2, 3, 4)] == [0.5, 1.0, 1.2, 1.2]


def test_the_expiry_of_the_submission_holds_across_retries(make_project: Callable[..., Project]) -> None:
    retry = {"max_retries": 50, "delay": "500ms", "backoff": "constant", "jitter": False}
    gaps, document = run(make_project, retry, expires="2s")
    expires = datetime.fromisoformat(document["expires_at"])
    submitted = datetime.fromisoformat(document["submitted_at"])
    assert (expires - submitted).total_seconds() == pytest.approx(2.0, abs=0.01)
    assert 1 <= len(gaps) <= 3, gaps
    assert (document["state"], document["reason"]) == ("FAILURE", "exception")
    assert document["error"]["message"] == "down"
    assert datetime.fromisoformat(document["finished_at"]) <= expires


def test_only_what_retry_for_names_is_tried_again(make_project: Callable[..., Project]) -> None:
    gaps, document = run(make_project, {"max_retries": 3, "delay": "100ms", "for": ["ValueError"]})
    assert gaps == []
    assert (document["attempts"], document["retries"]) == (1, 0)
