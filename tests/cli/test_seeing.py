"""Lists with conditions, and events as they happen, on the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

from runner.cli.runs import _csv_line
from tests.support.deadline import wait_until
from tests.support.project import Project

STAMMER = """def stammer():
    raise ValueError("one\\ntwo")
"""


def test_runs_by_what_is_known_of_them(served: Project) -> None:
    key = "seen"
    run_id = served.cli("submit", "fails", "--key", key, "--wait").check(1).id
    served.cli("submit", "hello", "--wait").check()
    for words in (
        ("--reason", "exception", "--key", key),
        ("--grep", "COFFEE is out", "--key", key),
        ("--trigger", "cli", "--key", key, "--until", "0s"),
    ):
        assert served.cli("runs", "--ids", *words).check().stdout.split() == [run_id]
    assert served.cli("runs", "--ids", "--key", key, "--tag", "greeting").check().stdout == ""
    assert run_id not in served.cli("runs", "--tag", "greeting", "--ids").check().stdout
    worker = served.document(run_id)["worker"]
    assert run_id in served.cli("runs", "--worker", worker.partition("@")[2], "--ids", "-n", "1000").check().stdout
    table = list(csv.DictReader(io.StringIO(served.cli("runs", "--csv", "--key", key).check().stdout)))
    assert [(row["id"], row["state"], row["error"]) for row in table] == [
        (run_id, "FAILURE", "ValueError: the coffee is out")
    ]
    assert served.cli("runs", "--sort", "longest", "--ids", "-n", "1").check().stdout


def test_a_field_of_several_lines_is_one_field() -> None:
    values: list[object] = ["id", "two\nlines", "win\r\ndows", "mac\rintosh", 'quo"te', None]
    written = "\r\n".join([_csv_line(values), _csv_line(["next"])])
    assert list(csv.reader(io.StringIO(written, newline=""))) == [[*values[:-1], ""], ["next"]]


def test_pages(project: Project) -> None:
    ids = [project.submit("unserved") for _ in range(5)]
    first = project.cli("runs", "--job", "unserved", "--json", "-n", "3").check()
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = project.cli("runs", "--job", "unserved", "--json", "-n", "2", "--cursor", cursor).check()
    assert [each["id"] for each in [*first.json, *second.json]] == ids[::-1]
    for form in ("--csv", "--ids", "--jsonl", "--utc"):
        shown = project.cli("runs", "--job", "unserved", form, "-n", "3").check()
        assert shown.stderr.split("--cursor ")[1].strip() == cursor
        rest = project.cli("runs", "--job", "unserved", form, "-n", "2", "--cursor", cursor).check()
        assert [run_id in shown.stdout for run_id in ids[::-1]] == [True] * 3 + [False] * 2
        assert [run_id in rest.stdout for run_id in ids[::-1]] == [False] * 3 + [True] * 2
    oldest = project.cli("runs", "--job", "unserved", "--sort", "oldest", "--ids", "-n", "1000").check().stdout.split()
    assert oldest[-5:] == ids
    project.cli("runs", "--cursor", "what").check(2)
    project.cli("runs", "--csv", "--json").check(2)
    project.cli("runs", "--job", "unknown").check(2)


def test_watch_of_a_run_ends_with_it(served: Project) -> None:
    run_id = served.submit("hello")
    told = [json.loads(line) for line in served.cli("watch", run_id, "--jsonl").check().stdout.splitlines()]
    assert told[-1]["state"] == "SUCCESS"
    assert {each["id"] for each in told} == {run_id}
    again = served.cli("watch", run_id, "--jsonl", "--from", "0").check().stdout.splitlines()
    assert [json.loads(line)["state"] for line in again] == ["PENDING", "STARTED", "SUCCESS"]
    rest = served.cli("watch", run_id, "--jsonl", "--from", json.loads(again[0])["event"]).check().stdout.splitlines()
    assert rest == again[1:]
    assert served.cli("watch", run_id[:8]).check().stdout.split()[2] == "SUCCESS"
    served.cli("watch", "0" * 36).check(4)
    served.cli("watch", "@hellp").check(4)
    assert "mean hello?" in served.cli("watch", "hellp").check(2).stderr
    served.cli("watch", run_id, "--from", "what").check(2)


def test_watch_of_a_job_goes_on(served: Project) -> None:
    with served.start("watch", "hello", "--from", "0") as watching:
        for _ in range(2):
            served.cli("submit", "speaks", "--wait").check()
            run_id = served.cli("submit", "hello", "--wait").check().id
            watching.wait_for(f"SUCCESS .*{run_id}", stream="out")
        assert "speaks" not in watching.stdout
        assert watching.terminate() == 143


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
    told = served.cli("why", failed, "--json").check().json
    assert (told["state"], told["reason"]) == ("FAILURE", "exception")
    assert "last error: ValueError: the coffee is out" in told["because"]
    assert any(f"rerun {failed}" in each for each in told["commands"])
    assert told["facts"]["declared"] is True
    served.cli("why", "0" * 36).check(4)


def test_why_keeps_an_error_of_several_lines_together(make_project: Callable[..., Project]) -> None:
    project = make_project({"stammers": {"task": "work:stammer"}}, {"work.py": STAMMER})
    with project.worker():
        project.cli("submit", "stammers", "--wait").check(1)
        shown = project.cli("why", "@stammers").check().stdout.splitlines()
    first = shown.index("- last error: ValueError: one")
    assert shown[first + 1] == "  two"


def test_stats(served: Project) -> None:
    served.cli("submit", "speaks", "--wait").check()
    told = served.cli("stats", "speaks", "--json").check().json
    assert told["states"]["SUCCESS"] >= 1
    assert told["success_rate"] == 1
    assert told["days"][-1]["success"] + told["days"][-2]["success"] >= 1
    assert served.cli("stats", "speaks").check().stdout.startswith("job ")
    table = served.cli("stats").check().stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == sorted(line.split()[0] for line in table[1:])
    assert any(line.startswith("speaks ") and "100 %" in line for line in table)
    served.cli("stats", "unknown").check(2)


def test_audit(project: Project) -> None:
    run_id = project.submit("unserved")
    project.cli("revoke", run_id, "--comment", "wrong day").check()
    project.cli("forget", run_id).check()
    told = project.cli("audit", "--id", run_id, "--json").check().json
    assert {each["act"] for each in told} == {"submit", "revoke", "forget"}
    assert all("@" in each["by"] for each in told)
    shown = project.cli("audit", "--id", run_id, "--act", "revoke").check().stdout.splitlines()
    assert shown[0].split() == ["AT", "BY", "ACT", "JOB", "ID", "COMMENT"]
    assert shown[1].endswith("wrong day")
    lines = project.cli("audit", "--id", run_id, "--jsonl").check().stdout.splitlines()
    assert [json.loads(line)["act"] for line in lines] == [each["act"] for each in told]
    project.cli("audit", "--json", "--jsonl").check(2)


def test_the_doctor_names_a_job_that_does_not_succeed(project: Project) -> None:
    job = "jobs:\n  silent: {task: 'clijobs:fails', queue: unserved, alert_if_no_success: 1s}\n"
    try:
        project.write({"jobs.d/silent.yaml": job})

        def found() -> list[dict[str, str]]:
            checks = project.cli("doctor", "--json").check(1).json["checks"]
            return [each for each in checks if each["name"] == "successes"]

        assert "has never run" in found()[0]["what"]
        project.submit("silent")
        assert wait_until(lambda: [each for each in found() if each["level"] == "problem"])
    finally:
        (project.path / "jobs.d/silent.yaml").unlink()
