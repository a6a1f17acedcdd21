"""A project whose job takes a number, for many runs by one command."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import Project, write_project
from tests.support.servers import Server

JOBS: dict[str, Any] = {
    "count": {"task": "work:count", "params": {"n": {"type": "integer"}, "name": {"type": "string"}}},
    "off": {"task": "work:count", "enabled": False},
}
FILES = {"work.py": "def count(n=0, name=''):\n    assert n >= 0\n    return n\n"}


@pytest.fixture
def counting(redis_server: Server, tmp_path: Path) -> Project:
    """A project with a job that fails for numbers below zero, and without a worker."""
    return write_project(tmp_path / "p", redis_server.url, JOBS, FILES)


def lines(*values: Any) -> str:
    return "".join(f"{value if isinstance(value, str) else json.dumps(value)}\n" for value in values)


def numbers(values: Iterable[int]) -> str:
    return "".join(f'{{"n": {n}}}\n' for n in values)


def submit(project: Project, text: str, *words: str, code: int = 0) -> Any:
    return project.cli("submit", "count", "--params-file", "-", *words, input=text).check(code)
