"""``runner graph``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.project import Project

STEPS = {
    "list": {"task": "os:listdir"},
    "copy": {"needs": ["list"], "each": "${steps.list.result}", "task": "os:fspath", "kwargs": {"path": "${item}"}},
    "tidy": {"needs": ["copy"], "when": "ended", "job": "plain"},
}
JOBS = {"flow": {"steps": STEPS}, "plain": {"task": "os:getcwd"}}


@pytest.fixture
def flows(make_project: Callable[..., Project]) -> Project:
    """A project with a flow, and no server."""
    return make_project(JOBS)


def test_the_formats(flows: Project) -> None:
    text = flows.cli("graph", "flow").check().stdout
    assert text.splitlines() == [
        "list        task os:listdir",
        "└─ copy     task os:fspath; each of ${steps.list.result}",
        "   └─ tidy  job plain; when ended",
    ]
    assert flows.cli("graph", "flow", "-o", "text").check().stdout == text
    assert flows.cli("graph", "flow", "-o", "mermaid").check().stdout.startswith("flowchart LR\n  s0[")
    assert flows.cli("graph", "flow", "--output", "dot").check().stdout.startswith('digraph "flow" {\n')
    document = flows.cli("graph", "flow", "--json").check().json
    assert [step["name"] for step in document["steps"]] == list(STEPS)


def test_it_needs_no_redis(flows: Project) -> None:
    flows.cli("graph", "flow", env={"RUNNER_REDIS_URL": "redis://127.0.0.1:1/0"}).check()


def test_a_terminal_without_unicode(flows: Project) -> None:
    assert "copy" in flows.cli("graph", "flow", env={"PYTHONIOENCODING": "ascii"}).check().stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flwo"], "no job is named 'flwo'\nhint: Did you mean flow?"),
        (["flow/lst"], "no job"),
        (["plain"], "error: plain has no steps, so it has no graph"),
        (["flow/list"], "error: flow/list has no steps, so it has no graph"),
        (["flow", "-o", "svg"], "'svg' is not one of text, mermaid, dot"),
        (["flow", "-o", "dot", "--json"], "--json and --output cannot be combined"),
        ([], "missing argument 'JOB'"),
    ],
)
def test_what_cannot_be_drawn(flows: Project, arguments: list[str], message: str) -> None:
    refused = flows.cli("graph", *arguments).check(2)
    # With --json an error is a document, too.
    assert message in (refused.stdout if "--json" in arguments else refused.stderr)
    assert "--json" in arguments or refused.stdout == ""


def test_a_job_without_steps_is_shown_by_another_command(flows: Project) -> None:
    assert "jobs plain" in flows.cli("graph", "plain").check(2).stderr
    assert "jobs flow" in flows.cli("graph", "flow/list").check(2).stderr
