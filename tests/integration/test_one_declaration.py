"""Every option of a submission, and every filter of a list of runs, through every way in that takes it.

The ways in are the command line, a file of params, the REST API with today's and with former names, the forms of the
dashboard, and the Python API. Each takes the same values, refuses the same ones with the same words, and has the same
help.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

import runner
from runner.actions.project import Project as Opened
from runner.cli.main import root
from runner.errors import RunnerError, UsageError
from runner.model.option import Option, known_options, options_of
from runner.model.run_query import Reading, ReadingKeywords, RunKeywords, RunQuery
from runner.model.submit_options import BatchKeywords, SubmitKeywords, SubmitOptions
from tests.support.project import Project, write_project
from tests.support.servers import Server
from tests.web.conftest import serving

YEAR_2100 = datetime(2100, 1, 1, tzinfo=UTC)
HELP = Path(__file__).resolve().parents[2] / "docs" / "reference"


@dataclass
class House:
    """A project with one job that waits and one that is paused, and the web beside it."""

    project: Project
    opened: Opened
    web: httpx.Client

    def ids(self) -> set[str]:
        return {run.id for run in self.opened.ledger.runs(limit=10_000)}

    def form_token(self) -> str:
        return self.web.get("/jobs/job").text.partition('name="csrf" value="')[2].partition('"')[0]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[House]:
    jobs: dict[str, Any] = {name: {"task": "work:take", "tags": ["finance"]} for name in ("job", "held", "other")}
    jobs["daily"] = {"task": "work:take", "tags": ["finance"], "schedule": "0 0 * * *"}
    jobs["stepped"] = {"steps": {"one": {"task": "work:take"}}, "tags": ["finance"]}
    jobs["job"]["params"] = {"n": {"type": "integer"}}
    project = write_project(
        tmp_path_factory.mktemp("declared") / "p",
        redis_server.url,
        jobs,
        {"work.py": "take = dict"},
        {"archive_url": "sqlite:///runner.db"},
    )
    opened = Opened.open(project.path)
    with serving(project) as web, web.client() as client:
        project.cli("pause", "held").check()
        yield House(project, opened, client)


@dataclass
class Good:
    """A value as text, as JSON, and as Python has it, and what the run document shows of it."""

    text: str
    json: Any
    python: Any
    shows: Callable[[dict[str, Any]], bool]
    job: str = "job"


def ahead(document: dict[str, Any], field: str, seconds: float) -> bool:
    moment = datetime.fromisoformat(document[field])
    return abs(moment - datetime.now(UTC) - timedelta(seconds=seconds)) < timedelta(minutes=2)


GOOD: dict[str, Good] = {
    "delay": Good("1h", "1h", 3600, lambda run: ahead(run, "eta", 3600)),
    "at": Good("2100-01-01", "2100-01-01", YEAR_2100, lambda run: run["eta"] == "2100-01-01T00:00:00.000Z"),
    "expires": Good("2h", "2h", 7200, lambda run: ahead(run, "expires_at", 7200)),
    "queue": Good("reports", "reports", "reports", lambda run: run["queue"] == "reports"),
    "priority": Good("7", 7, 7, lambda run: run["priority"] == 7),
    "key": Good("k", "k", "k", lambda run: run["key"].startswith("k")),
    "force": Good("on", True, True, lambda run: run["job"] == "held", job="held"),
}

SubmitDoor = Callable[[House, Option, Good, str], str]
"""Submits with one option, whose value may be made different by a suffix, and returns the id."""


def by_command_line(house: House, declared: Option, good: Good, suffix: str) -> str:
    words = [f"--{declared.key}"] if good.text == "on" else [f"--{declared.key}", good.text + suffix]
    return house.project.cli("submit", good.job, *words).check().id


def by_params_file(house: House, declared: Option, good: Good, suffix: str) -> str:
    words = [f"--{declared.key}"] if good.text == "on" else [f"--{declared.key}", good.text + suffix]
    (house.project.path / "one.jsonl").write_text("{}\n")
    return house.project.cli("submit", good.job, "--params-file", "one.jsonl", *words).check().id


def by_rest(house: House, declared: Option, good: Good, suffix: str) -> str:
    return rest(house, declared.key, good, suffix)


def by_rest_under_a_former_name(house: House, declared: Option, good: Good, suffix: str) -> str:
    return rest(house, (declared.former or (declared.key,))[0], good, suffix)


def rest(house: House, name: str, good: Good, suffix: str) -> str:
    value = good.json + suffix if isinstance(good.json, str) else good.json
    answer = house.web.post(f"/api/v1/jobs/{good.job}/runs", json={name: value})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def by_form(house: House, declared: Option, good: Good, suffix: str) -> str:
    typed = {"csrf": house.form_token(), declared.key: good.text if good.text == "on" else good.text + suffix}
    answer = house.web.post(f"/jobs/{good.job}/submit", data=typed, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def by_python(house: House, declared: Option, good: Good, suffix: str) -> str:
    value = good.python + suffix if isinstance(good.python, str) else good.python
    given: dict[str, Any] = {declared.field: value}
    return runner.submit(good.job, project=house.project.path, **given).id


def by_python_as_text(house: House, declared: Option, good: Good, suffix: str) -> str:
    value = good.json + suffix if isinstance(good.json, str) else good.json
    given: dict[str, Any] = {declared.field: value}
    return runner.submit(good.job, project=house.project.path, **given).id


def by_submit_many(house: House, declared: Option, good: Good, suffix: str) -> str:
    given: dict[str, Any] = {declared.field: good.python}
    [run] = runner.submit_many(good.job, [{}], project=house.project.path, **given)
    return run.id


SUBMIT_DOORS: list[SubmitDoor] = [
    by_command_line,
    by_params_file,
    by_rest,
    by_rest_under_a_former_name,
    by_form,
    by_python,
    by_python_as_text,
    by_submit_many,
]
OF_MANY = (by_params_file, by_submit_many)


def test_the_tables_here_miss_nothing() -> None:
    declared = {option.field for option in options_of(SubmitOptions)}
    assert declared == set(GOOD) == set(SubmitKeywords.__annotations__)
    assert declared - {"key"} == set(BatchKeywords.__annotations__)
    filters = {option.field for option in options_of(RunQuery)}
    assert filters == set(FILTERS) == set(RunKeywords.__annotations__)
    assert {option.field for option in options_of(Reading)} == set(ReadingKeywords.__annotations__)


@pytest.mark.parametrize(
    ("door", "field"),
    # A key names one run.
    [(door, field) for door in SUBMIT_DOORS for field in GOOD if not (field == "key" and door in OF_MANY)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_every_way_in_takes_every_option(house: House, door: SubmitDoor, field: str) -> None:
    declared = next(option for option in options_of(SubmitOptions) if option.field == field)
    suffix = f"-{door.__name__}" if field == "key" else ""
    document = house.project.document(door(house, declared, GOOD[field], suffix))
    assert GOOD[field].shows(document), document


def test_what_submits_many_takes_no_key(house: House) -> None:
    (house.project.path / "one.jsonl").write_text("{}\n")
    refused = house.project.cli("submit", "job", "--key", "k", "--params-file", "one.jsonl").check(2)
    assert "--key-from" in refused.stderr
    given: dict[str, Any] = {"key": "k"}
    with pytest.raises(UsageError, match="names one run"):
        runner.submit_many("job", [{}], project=house.project.path, **given)


BAD: list[tuple[str, str, Any, Any, str]] = [
    ("delay", "10", "10", "10", "10 has no unit, write 10s, 10m or 10h"),
    ("delay", "never", "never", "never", "'never' is not a duration, write a number with a unit"),
    ("delay", "100000d", "100000d", 1e10, "is longer than ten years"),
    ("at", "someday", "someday", "someday", "'someday' is not a time, write 2026-11-24T02:00:00+01:00"),
    ("at", "2020-01-01", "2020-01-01", "2020-01-01", "2020-01-01 is in the past, leave it out to run now"),
    ("at", "2900-01-01", "2900-01-01", datetime(2900, 1, 1, tzinfo=UTC), "is more than 100 years ahead"),
    ("expires", "0s", "0s", 0, "0s is too short, write 1ms or more"),
    ("queue", "a b", "a b", "a b", "'a b' is not valid, use 1 to 64 letters, digits, dots, dashes, or underscores"),
    ("priority", "20", 20, 20, "20 is out of range, write 0 to 9"),
    ("priority", "-1", -1, -1, "-1 is out of range, write 0 to 9"),
    ("priority", "high", "high", "high", "expected a whole number from 0 to 9, got text"),
    ("key", "k" * 257, "k" * 257, "k" * 257, "the key is empty, too long, or not printable, use 1 to 256 characters"),
    ("force", "perhaps", "perhaps", "perhaps", "expected true or false, got text"),
]
"""A field, a value of it as text, JSON, and Python, and what is said of it everywhere."""


@pytest.mark.parametrize(("field", "text", "as_json", "python", "told"), BAD, ids=lambda value: str(value)[:20])
def test_every_way_in_refuses_the_same_values_with_the_same_words(
    house: House, field: str, text: str, as_json: Any, python: Any, told: str
) -> None:
    declared = next(option for option in options_of(SubmitOptions) if option.field == field)
    before, key = house.ids(), declared.key
    if field != "force":  # on the command line it has no value
        (house.project.path / "one.jsonl").write_text("{}\n")
        for more in ([], ["--params-file", "one.jsonl"]) if field != "key" else ([],):
            refused = house.project.cli("submit", "job", f"--{key}={text}", *more).check(2)
            assert refused.stderr.startswith(f"error: --{key}: ")
            assert told in refused.stderr
    for name in (key, *declared.former):
        answer = house.web.post("/api/v1/jobs/job/runs", json={name: as_json})
        assert answer.status_code == 422, answer.text
        assert answer.json()["error"]["message"].startswith(f"{key}: ")
        assert told in answer.json()["error"]["message"]
    page = house.web.post("/jobs/job/submit", data={"csrf": house.form_token(), key: text})
    assert page.status_code == 422
    assert told in html.unescape(page.text)
    assert field == "force" or f'value="{text}"' in page.text
    given: dict[str, Any] = {field: python}
    calls: list[Callable[[], Any]] = [lambda: runner.submit("job", project=house.project.path, **given)]
    if field != "key":
        calls.append(lambda: runner.submit_many("job", [{}], project=house.project.path, **given))
    for call in calls:
        with pytest.raises(UsageError, match=f"^{field}: ") as raised:
            call()
        assert told in raised.value.message
    assert house.ids() == before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"queue": "\ud800"}, "queue: has half of a surrogate pair"),
        ({"key": "\ud800"}, "key: has half of a surrogate pair"),
        ({"priority": 10**5000}, "priority: the number is out of range, write 0 to 9"),
        ({"priority": -(10**5000)}, "priority: the number is out of range, write 0 to 9"),
        ({"at": datetime.max.replace(tzinfo=UTC)}, "at: is more than 100 years ahead"),
    ],
    ids=["half a character", "half a character as key", "huge", "below all", "last year of all"],
)
def test_a_program_may_give_what_no_text_says(house: House, given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        runner.submit("job", project=house.project.path, **given)


def test_a_start_time_of_a_program_may_have_passed(house: House) -> None:
    for moment in (datetime.now(UTC) - timedelta(hours=1), datetime(1969, 7, 20, tzinfo=UTC)):
        assert runner.submit("job", at=moment, project=house.project.path).state == "PENDING"


def test_filters_of_a_program_may_be_what_no_text_says(house: House) -> None:
    for field in ("job", "grep", "tag", "worker", "key"):
        given: dict[str, Any] = {field: "\ud800"}
        with pytest.raises(UsageError, match=f"{field}: has half of a surrogate pair"):
            runner.get_runs(project=house.project.path, **given)


def test_two_that_exclude_each_other_are_refused_everywhere(house: House) -> None:
    before = house.ids()
    refused = house.project.cli("submit", "job", "--in", "1h", "--at", "23:00").check(2)
    assert "--in and --at both say when to start" in refused.stderr
    for name in ("in", "delay"):
        answer = house.web.post("/api/v1/jobs/job/runs", json={name: "1h", "at": "23:00"})
        assert answer.json()["error"]["message"] == "in and at both say when to start"
    typed = {"csrf": house.form_token(), "in": "1h", "at": "23:00"}
    assert "in and at both say when to start" in house.web.post("/jobs/job/submit", data=typed).text
    with pytest.raises(UsageError, match="delay and at both say when to start"):
        runner.submit("job", delay=3600, at=YEAR_2100, project=house.project.path)
    assert house.ids() == before


def test_an_option_may_be_given_under_one_name(house: House) -> None:
    answer = house.web.post("/api/v1/jobs/job/runs", json={"in": "1h", "delay": "2h"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "in and delay are the same option"
    answer = house.web.post("/api/v1/jobs/job/runs", json={"key": "a"}, headers={"Idempotency-Key": "b"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "key and Idempotency-Key are the same option"
    answer = house.web.get("/api/v1/runs", params={"grep": "a", "text": "b"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "grep and text are the same option"


def test_an_unknown_option_is_guessed_at(house: House) -> None:
    answer = house.web.post("/api/v1/jobs/job/runs", json={"priorty": 1})
    assert "did you mean priority?" in answer.json()["error"]["message"]
    given: dict[str, Any] = {"priorty": 1}
    with pytest.raises(TypeError, match="did you mean priority"):
        runner.submit("job", project=house.project.path, **given)


# -- filters


@dataclass
class Filter:
    """A filter as text and as Python has it, and a wrong one with what is said of it."""

    text: str
    python: Any
    finds: Callable[[dict[str, Any]], bool]
    wrong: str
    told: str


FILTERS: dict[str, Filter] = {
    "job": Filter(
        "other", "other", lambda run: run["job"] == "other", "j" * 130, "is 130 characters long, at most 129"
    ),
    "state": Filter(
        "revoked", ["REVOKED"], lambda run: run["state"] == "REVOKED", "DONE", "'DONE' is not one of PENDING, STARTED"
    ),
    "grep": Filter("NOWHERE", "NOWHERE", lambda run: False, "g" * 201, "is 201 characters long, at most 200"),
    "since": Filter("2h", datetime.now(UTC) - timedelta(hours=2), lambda run: True, "24", "24 has no unit, write 24h"),
    "until": Filter("2h", datetime.now(UTC) - timedelta(hours=2), lambda run: False, "x", "'x' is not a time, write"),
    "reason": Filter(
        "cancelled", "cancelled", lambda run: run["reason"] == "cancelled", "bored", "'bored' is not one of exception"
    ),
    "tag": Filter("finance", "finance", lambda run: True, "t" * 65, "is 65 characters long, at most 64"),
    "worker": Filter("nobody", "nobody", lambda run: False, "w" * 257, "is 257 characters long, at most 256"),
    "trigger": Filter("web", "web", lambda run: run["trigger"] == "web", "fax", "'fax' is not one of cli, schedule"),
    "key": Filter("filtered", "filtered", lambda run: run["key"] == "filtered", "k" * 257, "is 257 characters long"),
    "backfill": Filter("ID", "ID", lambda run: run["trigger"] == "backfill", "b" * 65, "is 65 characters long"),
    "flow": Filter("@stepped", "@stepped", lambda run: False, "f" * 129, "is 129 characters long, at most 128"),
    "step": Filter("one", "one", lambda run: False, "s" * 65, "is 65 characters long, at most 64"),
    "steps": Filter("on", True, lambda run: True, "perhaps", "expected true or false"),
    "archived": Filter("on", True, lambda run: False, "perhaps", "expected true or false"),
    "sort": Filter("oldest", "oldest", lambda run: True, "shortest", "'shortest' is not one of newest, oldest"),
}


FLAGS = ("steps", "archived")


@pytest.fixture(scope="module")
def runs(house: House) -> list[dict[str, Any]]:
    """All runs, newest first: of two jobs, two ways in, two states, one with a key."""
    typed = {"csrf": house.form_token()}
    house.web.post("/jobs/other/submit", data=typed, follow_redirects=False)
    house.project.cli("submit", "stepped").check()
    house.project.cli("backfill", "daily", "--from", "2026-01-01", "--to", "2026-01-01").check()
    house.project.cli("submit", "other", "--key", "filtered").check()
    house.project.cli("revoke", house.project.cli("submit", "job").check().id).check()
    return [run.document() for run in house.opened.ledger.runs(limit=10_000)]


@pytest.mark.parametrize("field", FILTERS)
def test_every_list_takes_every_filter(house: House, runs: list[dict[str, Any]], field: str) -> None:
    declared, asked = known_options(RunQuery)[field], FILTERS[field]
    if field == "backfill":
        [made] = house.project.cli("backfills", "--json").check().json
        asked = replace(asked, text=made["id"], python=made["id"])
    expected = [run["id"] for run in runs if asked.finds(run)][:: -1 if asked.text == "oldest" else 1][:40]
    words = [f"--{field}"] if asked.python is True else [f"--{field}", asked.text]
    found = {"command line": house.project.cli("runs", "--ids", "-n", "40", *words).check().stdout.split()}
    for name in (field, *declared.former):
        answer = house.web.get("/api/v1/runs", params={name: asked.text, "limit": 40})
        found[f"REST {name}"] = [run["id"] for run in answer.json()["runs"]]
        page = house.web.get("/runs", params={name: asked.text}).text
        found[f"dashboard {name}"] = re.findall(r'<tr data-key="([^"]+)"', page)[:40]
        assert f'name="{field}"' in page
    given: dict[str, Any] = {field: asked.python}
    found["Python"] = [run.id for run in runner.get_runs(limit=40, project=house.project.path, **given)]
    if asked.python is not True:
        given[field] = asked.text
    found["Python as text"] = [run.id for run in runner.get_runs(limit=40, project=house.project.path, **given)]
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize("field", FILTERS)
def test_every_list_refuses_the_same_filters_with_the_same_words(house: House, field: str) -> None:
    declared, asked = known_options(RunQuery)[field], FILTERS[field]
    result = house.project.cli("runs", f"--{field}={asked.wrong}").check(2)
    assert result.stderr.startswith(f"error: --{field}: ") or field in ("job", *FLAGS)
    for name in (field, *declared.former):
        answer = house.web.get("/api/v1/runs", params={name: asked.wrong})
        assert answer.status_code == 422
        assert answer.json()["error"]["message"].startswith(f"{field}: ")
        page = house.web.get("/runs", params={name: asked.wrong})
        assert page.status_code == 422
        refused = result.stderr if field not in FLAGS else asked.told  # a flag takes no value on the command line
        for text in (refused, answer.json()["error"]["message"], html.unescape(page.text)):
            assert asked.told in text
    given: dict[str, Any] = {field: asked.wrong}
    with pytest.raises(UsageError, match=f"^{field}: ") as raised:
        runner.get_runs(project=house.project.path, **given)
    assert asked.told in raised.value.message


def test_the_longest_come_in_one_page(house: House) -> None:
    assert "no pages" in house.project.cli("runs", "--sort", "longest", "--cursor", "1:a").check(2).stderr
    for path in ("/api/v1/runs", "/runs"):
        for name in ("sort", "order"):
            answer = house.web.get(path, params={name: "longest", "cursor": "1:a"})
            assert answer.status_code == 422
            assert "no pages" in answer.text
    with pytest.raises(UsageError, match="no pages"):
        runner.get_runs(sort="longest", cursor="1:a", project=house.project.path)


def test_pages_of_the_python_api_follow_each_other(house: House, runs: list[dict[str, Any]]) -> None:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = runner.get_runs(limit=7, cursor=cursor, project=house.project.path)
        found += [run.id for run in page]
        assert not page.cut
        if (cursor := page.cursor) is None:
            break
    assert found == [run["id"] for run in runs]
    for wrong in (0, -1, True, "7"):
        with pytest.raises(RunnerError, match="limit"):
            runner.get_runs(limit=wrong, project=house.project.path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has no offset"):
        runner.get_runs(since=datetime(2026, 1, 1), project=house.project.path)


# -- help


@pytest.mark.parametrize(
    ("verb", "cls", "call"), [("submit", SubmitOptions, runner.submit), ("runs", RunQuery, runner.get_runs)]
)
def test_the_help_is_the_same_everywhere(house: House, verb: str, cls: type, call: Callable[..., Any]) -> None:
    command = root.get_command(click.Context(root), verb)
    assert command is not None
    cli = {option: param for param in command.params for option in param.opts}
    described = house.web.get("/api/v1/openapi.json").json()
    body = described["components"]["schemas"]["NewRun"]["properties"]
    query = {parameter["name"]: parameter for parameter in described["paths"]["/api/v1/runs"]["get"]["parameters"]}
    rest = body if cls is SubmitOptions else query
    page = html.unescape(house.web.get("/jobs/held" if cls is SubmitOptions else "/runs").text)
    reference = (HELP / "submit-and-filter.md").read_text("utf-8")
    for declared in options_of(cls):
        assert getattr(cli[f"--{declared.key}"], "help", None) == declared.help
        assert rest[declared.key]["description"] == declared.help
        for name in declared.former:
            assert rest[name]["deprecated"]
            assert declared.key in rest[name]["description"]
        assert declared.help in page
        assert f"{declared.field}: {declared.help}" in (call.__doc__ or "")
        assert declared.help in reference
        assert f"`--{declared.key}`" in reference


def test_the_description_of_the_body_is_closed(house: House) -> None:
    described = house.web.get("/api/v1/openapi.json").json()["components"]["schemas"]["NewRun"]
    names = {name for option in options_of(SubmitOptions) for name in (option.key, *option.former)}
    assert set(described["properties"]) == names | {"params"}
    assert described["additionalProperties"] is False
    assert json.dumps(described)
