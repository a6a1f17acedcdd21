"""What a Celery task tells with ``update_state`` becomes progress; whatever it is, the task goes on."""

from __future__ import annotations

from typing import Any

import pytest

from runner.attempt.backend import _fraction


@pytest.mark.parametrize(
    ("meta", "fraction"),
    [
        ({"current": 1, "total": 4}, 0.25),
        ({"current": "3", "total": "4"}, 0.75),
        ({"current": 5, "total": 4}, 1.0),
        ({"total": 4}, 0.0),
        ({"fraction": 0.5, "total": 4}, 0.5),
        ({"fraction": 0}, 0.0),
        ({}, None),
        ({"current": 1, "total": 0}, None),
        ({"current": None, "total": 4}, None),
        ({"current": [1], "total": 4}, None),
        ({"fraction": "half"}, None),
        ({"fraction": float("nan")}, None),
    ],
)
def test_the_fraction_that_a_task_tells(meta: dict[str, Any], fraction: float | None) -> None:
    assert _fraction(meta) == fraction
