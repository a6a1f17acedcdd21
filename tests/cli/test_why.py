"""``runner why``: where a run is, and why it ended."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.project import Project

SPEAK = """def speak():
    return "spoken"


def stammer():
    print("about to stammer")
    raise ValueError("no")
"""
STAMMER = """def stammer():
    raise ValueError("one\\ntwo")
"""


def test_why(served: Project) -> None:
    waits = served.submit("unserved")
    shown = served.cli("why", waits).check().stdout.splitlines()
    assert shown[0] == f"unserved {waits}: PENDING"
    assert shown[1] == "no live worker takes runs from queue unserved"
    assert "worker -Q unserved" in shown[-1]
    later = served.submit("unserved", "--at", "2100-01-01T12:00:00Z")
    assert "due at 2100-01-01 12:00:00+00:00, in 2" in served.cli("why", later, "--utc").check().stdout
    assert "due at 2100-01-01T12:00:00.000Z, in 2" in served.cli("why", later, "--json").check().json["summary"]
    zoned = served.cli("why", later, env={"TZ": "Asia/Tokyo"}).check().stdout
    assert "due at 2100-01-01 21:00:00+09:00" in zoned
    failed = served.cli("submit", "fails", "--wait").check(1).id
    answer = served.cli("why", failed, "--json").check().json
    assert (answer["state"], answer["reason"]) == ("FAILURE", "exception")
    assert "last error: ValueError: the coffee is out" in answer["because"]
    assert any(f"rerun {failed}" in command for command in answer["commands"])
    assert answer["facts"]["declared"] is True
    served.cli("why", "0" * 36).check(4)


def test_why_repeats_nothing(make_project: Callable[..., Project]) -> None:
    script = {"task": "runner.tasks.shell:run", "kwargs": {"script": "echo reading; echo no such file; exit 3"}}
    project = make_project({"imports": script})
    with project.worker():
        run_id = project.cli("submit", "imports", "--wait").check(1).id
        shown = project.cli("why", run_id).check().stdout
    assert shown.splitlines()[:5] == [
        f"imports {run_id}: FAILURE (exception)",
        "the job raised an error that is not retried, or not any more",
        "- last error: the script ended with exit status 3; its last lines:",
        "  reading",
        "  no such file",
    ]
    assert all(shown.count(text) == 1 for text in ("FAILURE", "reading", "no such file"))


def test_the_latest_failure_is_explained_and_shown_if_no_run_is_named(make_project: Callable[..., Project]) -> None:
    project = make_project({"stammers": {"task": "work:stammer"}, "speaks": {"task": "work:speak"}}, {"work.py": SPEAK})
    for verb in ("why", "logs"):
        assert "no run has failed" in project.cli(verb).check(4).stderr
    for verb, hint in (
        ("logs", "write @speaks for its latest run"),
        ("forget", "runs --job speaks lists its runs"),
    ):
        hinted = project.cli(verb, "speaks").check(4).stderr.splitlines()[-1]
        assert hinted.startswith("hint: speaks is a job: ")
        assert hinted.endswith(hint)
    with project.worker():
        project.cli("submit", "stammers", "--wait").check(1)
        project.cli("submit", "speaks", "--wait").check()
        failed = project.cli("submit", "stammers", "--wait").check(1).id
        project.cli("submit", "speaks", "--wait").check()
    why, logs = project.cli("why").check(), project.cli("logs", "--raw").check()
    assert why.stdout.startswith(f"stammers {failed}: FAILURE")
    assert logs.stdout == "about to stammer\n"
    for done in (why, logs):
        assert done.stderr.startswith(f"the latest failure: run {failed} of stammers, ")
    assert project.cli("why", "--json").check().json["id"] == failed


def test_why_keeps_an_error_of_several_lines_together(make_project: Callable[..., Project]) -> None:
    project = make_project({"stammers": {"task": "work:stammer"}}, {"work.py": STAMMER})
    with project.worker():
        project.cli("submit", "stammers", "--wait").check(1)
        shown = project.cli("why", "@stammers").check().stdout.splitlines()
    first = shown.index("- last error: ValueError: one")
    assert shown[first + 1] == "  two"
