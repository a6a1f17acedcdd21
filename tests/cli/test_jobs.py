"""``runner jobs``: what is declared."""

from __future__ import annotations

import re

from tests.support.project import Project


def test_jobs(project: Project) -> None:
    text = project.cli("jobs").check().stdout
    assert re.search(r"^disabled +clijobs:hello +default +no", text, re.MULTILINE)
    document = project.cli("jobs", "hello", "--json").check().json
    assert document["name"] == "hello"
    assert document["params"]["name"] == {"type": "string", "default": "world"}
    assert project.cli("jobs", "hello").check().stdout.startswith("# jobs.d/jobs.yaml, line 2\nhello:\n")
