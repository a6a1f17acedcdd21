"""``runner schema``: the JSON Schemas."""

from __future__ import annotations

import json

import pytest

from tests.support.project import Project


@pytest.mark.parametrize("which", ["jobs", "runner"])
def test_schema(project: Project, which: str) -> None:
    assert "2020-12" in json.loads(project.cli("schema", which).check().stdout)["$schema"]
