"""The flow of ``jobs.d``, from the list of its pages to the end of its scratch folder, with a real worker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.project import Project, Result

ROOT = Path(__file__).parents[2]


def with_example(make_project: Callable[..., Project]) -> Project:
    project = make_project()
    for folder in ("jobs.d", "examples"):
        shutil.copytree(ROOT / folder, project.path / folder, dirs_exist_ok=True)
    shutil.copytree(ROOT / "docs" / "tutorials", project.path / "docs")
    return project


def submit(project: Project, exit_code: int = 0) -> Result:
    return project.cli("submit", "index-docs", "--wait").check(exit_code)


def steps_of(project: Project, flow: str) -> dict[str, tuple[str, str | None, int]]:
    steps: list[dict[str, Any]] = project.cli("status", flow, "--json").check().json["steps"]
    return {step["name"]: (step["state"], step["reason"], step["items"]) for step in steps}


def test_the_index_is_built_and_written_if_it_has_changed(make_project: Callable[..., Project]) -> None:
    project = with_example(make_project)
    pages = len(list((project.path / "docs").rglob("*.md")))
    done = {
        "list": ("SUCCESS", None, 1),
        "count": ("SUCCESS", None, pages),
        "join": ("SUCCESS", None, 1),
        "publish": ("SUCCESS", None, 1),
        "clean-up": ("SUCCESS", None, 1),
    }
    with project.worker():
        assert steps_of(project, submit(project).id) == done
        index = json.loads((project.path / ".runner" / "page-index.json").read_text())
        assert "docs/tour.md" in index["runner"]
        assert not list((project.path / ".runner" / "scratch").iterdir())
        assert steps_of(project, submit(project).id) == done | {"publish": ("REVOKED", "skipped", 1)}


def test_only_what_failed_is_repeated(make_project: Callable[..., Project]) -> None:
    project = with_example(make_project)
    page = project.path / "docs" / "tour.md"
    text = page.read_bytes()
    page.write_bytes(b"\xff")
    pages = len(list((project.path / "docs").rglob("*.md")))
    with project.worker():
        failed = submit(project, 1)
        found = steps_of(project, failed.id)
        assert found["count"] == ("FAILURE", "exception", pages)
        assert found["join"] == found["publish"] == ("REVOKED", "upstream_failed", 1)
        assert found["clean-up"] == ("SUCCESS", None, 1)
        page.write_bytes(text)
        again = project.cli("rerun", failed.id, "--from-failed", "--wait").check()
        assert {step[0] for step in steps_of(project, again.id).values()} == {"SUCCESS"}
        runs = [
            json.loads(line) for line in project.cli("runs", "--flow", again.id, "--jsonl").check().stdout.splitlines()
        ]
        counted = {run["params"]["item"]: run["reused_from"] for run in runs if run["step"] == "count"}
        assert [item for item, reused in counted.items() if reused is None] == ["docs/tour.md"]
