"""Every list, in every form: on a terminal of 60, 80, and 120 columns, and for programs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from rich.cells import cell_len

from tests.cli.jobs import FILES, JOBS
from tests.support.project import Project
from tests.support.terminal import run_many

LISTS = ("runs", "jobs", "workers", "queues", "stats", "audit", "upcoming", "backfills")
NEVER_DROPPED = {
    "runs": ("SUBMITTED", "ID", "JOB", "STATE"),
    "jobs": ("JOB", "LAST"),
    "workers": ("WORKER", "STATE", "RUNNING"),
    "queues": ("QUEUE", "WAITING", "WORKERS"),
    "stats": ("JOB", "RUNS", "SUCCESS"),
    "audit": ("AT", "ACT", "JOB"),
    "upcoming": ("SLOT", "JOB"),
    "backfills": ("ID", "JOB", "RUNS"),
}
MORE = """\
  import-customers-from-the-old-warehouse-system:
    task: "clijobs:hello"
    description: 导入旧仓库系统的客户数据, and whatever else it may have
    queue: imports-of-the-night
    schedule: [{cron: "30 2 * * *", params: {name: "=HYPERLINK(1)"}}, {every: 15m}]
    params: {name: {type: string}}
"""
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+")
FULL_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d")


def headings(line: str) -> list[str]:
    return re.split(r" {2,}", line.strip())


def test_every_list_in_every_form(make_project: Callable[..., Project]) -> None:
    job = "import-customers-from-the-old-warehouse-system"
    project = make_project(JOBS + MORE, FILES)
    with project.worker():
        project.submit("hello", "-p", "name=Zoë", "--wait")
        project.cli("submit", "fails", "--wait").check(1)
        run_id = project.submit(job, "--key", "=cmd()", "--in", "1h")
        comment = "wanted\nby finance, before the end of the year at the latest"
        project.cli("revoke", run_id, "--comment", comment).check()
        project.cli("backfill", job, "--from", "2026-11-01", "--to", "2026-11-01").check()
        asked = [(width, [name]) for name in LISTS for width in (60, 80, 120)]
        forms = [(80, [name, *form]) for name in LISTS for form in (["--json"], ["-o", "csv"], ["-o", "name"])]
        forms += [(80, [name, *form]) for name in LISTS for form in (["-o", "yaml"], ["-o", "wide"])]
        forms += [(200, [name, "--times"]) for name in LISTS]
        forms += [(width, ["runs", "--times"]) for width in (60, 80)]
        forms += [(60, ["status"])]
        answers = run_many([*asked, *forms], cwd=project.path)
        assert {code for code, _ in answers} == {0}
        texts = {(width, *words): text for (width, words), (_, text) in zip([*asked, *forms], answers, strict=True)}
        overview = texts[60, "status"].splitlines()
        assert max(map(cell_len, overview)) <= 60
        assert {"failing", "waiting", "workers", "next"} <= {line.split(" ")[0] for line in overview}
        for head, *lines in (texts[width, "runs", "--times"].splitlines() for width in (60, 80)):
            assert headings(head)[:4] == ["SUBMITTED", "ID", "JOB", "STATE"]
            assert all(FULL_TIME.match(line) for line in lines)
        enabled = [
            re.findall(r" (yes|no)(?: |$)", text, re.M)
            for text in (texts[120, "jobs"], texts[80, "jobs", "-o", "wide"])
        ]
        assert [set(found) for found in enabled] == [{"no"}, {"yes", "no"}]
        assert " ago" not in texts[200, "jobs", "--times"] + texts[200, "workers", "--times"]
        for name in ("jobs", "workers"):
            assert " ago" in project.cli(name).check().stdout
            assert " ago" not in project.cli(name, "--times").check().stdout
        for name in LISTS:
            documents = json.loads(texts[80, name, "--json"])
            assert documents, name
            _check_table(name, len(documents), {width: texts[width, name].splitlines() for width in (60, 80, 120)})
            wide, times = texts[80, name, "-o", "wide"], texts[200, name, "--times"]
            assert bool(UUID.search(wide)) == (name in ("runs", "audit", "backfills")), name
            assert bool(FULL_TIME.search(times)) == (name not in ("queues", "stats")), name
            _check_forms(name, documents, {form: texts[80, name, "-o", form] for form in ("csv", "name", "yaml")})
            _check_fields(project, name, documents)


def _check_table(name: str, rows: int, tables: dict[int, list[str]]) -> None:
    before: set[str] = set(NEVER_DROPPED[name])
    for width, (head, *lines) in tables.items():
        assert len(lines) == rows, name
        assert max(cell_len(line) for line in (head, *lines)) <= width, name
        assert before <= set(headings(head)), (name, width)
        before = set(headings(head))
        # The comment on a backfill is its full id.
        assert name == "audit" or not UUID.search("\n".join(lines)), name
        assert not FULL_TIME.search("\n".join(lines)), name


def _check_forms(name: str, documents: list[dict[str, Any]], texts: dict[str, str]) -> None:
    identity = {"runs": "id", "audit": "id", "backfills": "id", "stats": "job", "upcoming": "job"}.get(name, "name")
    wanted = [document[identity] for document in documents if document[identity]]
    assert texts["name"].split() == wanted
    assert [document[identity] for document in yaml.safe_load(texts["yaml"])] == [
        document[identity] for document in documents
    ]
    records = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert [record[identity] for record in records if record[identity]] == wanted
    assert "\n=" not in texts["csv"]
    assert ",=" not in texts["csv"]


def _check_fields(project: Project, name: str, documents: list[dict[str, Any]]) -> None:
    """Whatever a document has is known to templates."""
    fields = {field for document in documents for field in document}
    inner = {
        f"{field}.{key}"
        for document in documents
        for field, value in document.items()
        if isinstance(value, dict)
        for key in value
    }
    template = " ".join(f"{{{field}}}" for field in sorted(fields | inner))
    assert project.cli(name, "-o", template).check().stdout.count("\n") == len(documents)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("runs", "-o", "josn"), "-o josn: unknown form, did you mean json?"),
        (("runs", "-o", "{idd}"), "unknown field idd, did you mean id?"),
        (("runs", "--ids", "-o", "name"), "--ids and -o cannot be combined"),
        (("runs", "-o", "json", "-w"), "-w cannot follow a list that is one JSON array"),
        (("runs", "-w", "--cursor", "1:x"), "-w follows the first page"),
        (("upcoming", "--simulate", "-o", "csv"), "--simulate prints no list"),
    ],
)
def test_what_cannot_be_shown_is_refused(project: Project, args: tuple[str, ...], message: str) -> None:
    refused = project.cli(*args).check(2)
    if "json" in args:
        assert json.loads(refused.stdout)["error"]["message"].startswith(message)
    else:
        assert refused.stderr.startswith(f"error: {message}")


def test_lists_without_rows(make_project: Callable[..., Project]) -> None:
    project = make_project("jobs: {}")
    asked = [(80, [name, *form]) for name in LISTS for form in ([], ["-o", "yaml"], ["-o", "name"], ["-o", "csv"])]
    answers = [text for _, text in run_many(asked, cwd=project.path)]
    for number, name in enumerate(LISTS):
        table, as_yaml, names, as_csv = answers[4 * number : 4 * number + 4]
        assert (table, as_yaml, names) == ("", "[]\n", ""), name
        assert len(as_csv.splitlines()) == 1, name
