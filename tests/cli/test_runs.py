"""``runner runs``: lists with conditions, in pages, in each form."""

from __future__ import annotations

import csv
import io
import json

from runner.cli.terminal.list_texts import csv_line
from tests.support.project import Project


def test_runs_lists_newest_first(project: Project) -> None:
    ids = [project.submit("speaks", "--queue", "unserved") for _ in range(3)]
    listed = project.cli("runs", "--job", "speaks", "--ids").check().stdout.split()
    assert listed == ids[::-1]
    assert project.cli("runs", "--job", "speaks", "--ids", "--limit", "1").check().stdout.split() == ids[2:]
    documents = project.cli("runs", "--job", "speaks", "--json").check().json
    assert [document["id"] for document in documents] == listed
    lines = project.cli("runs", "--job", "speaks", "--jsonl").check().stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == listed
    assert project.cli("runs", "--job", "speaks", "--state", "success", "--ids").check().stdout == ""
    assert project.cli("runs", "--job", "speaks", "--state", "pending", "--since", "1h", "--ids").check().stdout
    text = project.cli("runs", "--job", "speaks", "--utc").check().stdout.splitlines()
    assert text[0].split()[:3] == ["SUBMITTED", "ID", "JOB"]
    assert "+00:00" in text[1]
    assert ids[2] in text[1]
    assert project.document(ids[0][:8])["id"] == ids[0]
    assert project.cli("status", "@speaks", "--json").check().json["id"] == ids[2]
    both = project.cli("status", ids[0], ids[1], "--json").check().json
    assert [run["id"] for run in both] == ids[:2]


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
    written = "\r\n".join([csv_line(values), csv_line(["next"])])
    assert list(csv.reader(io.StringIO(written, newline=""))) == [[*values[:-1], ""], ["next"]]


def test_pages(project: Project) -> None:
    ids = [project.submit("unserved") for _ in range(5)]
    first = project.cli("runs", "--job", "unserved", "--json", "-n", "3").check()
    cursor = first.stderr.split("--cursor ")[1].strip()
    second = project.cli("runs", "--job", "unserved", "--json", "-n", "2", "--cursor", cursor).check()
    assert [run["id"] for run in [*first.json, *second.json]] == ids[::-1]
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
