"""Runs that only the archive has are known to everything that reads runs."""

from __future__ import annotations

import csv
import gc
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import runner
from runner.actions.project import Project as Opened
from runner.app.factory import create_app
from runner.archive.rows import row_of
from runner.archive.store import Archive
from runner.errors import ArchiveUnavailable, UnknownRun, UsageError
from runner.ledger.run_log import RunLog
from tests.support.project import Project, write_project
from tests.support.servers import Server, free_port
from tests.web.conftest import serving

WORK = """
import logging


def echo(text):
    print(f"saying {text}")
    return {"text": text}


def fail():
    print("about to fail")
    logging.getLogger("jobs").error("it is broken")
    raise ValueError("broken for good")


def odd(item):
    print(f"item {item}")
    if item == "b":
        raise ValueError("b is odd")
    return item
"""
JOBS: dict[str, Any] = {
    "echo": {"task": "work:echo", "params": {"text": {"type": "string", "default": "hi"}}, "tags": ["loud"]},
    "fail": {"task": "work:fail"},
    "flow": {
        "steps": {
            "first": {"task": "work:echo", "kwargs": {"text": "first"}},
            "each": {"needs": ["first"], "each": ["a", "b", "c"], "task": "work:odd", "kwargs": {"item": "${item}"}},
        }
    },
}
ENDS = {"echo": ("SUCCESS", 0), "fail": ("FAILURE", 1), "revoked": ("REVOKED", 3), "flow": ("FAILURE", 1)}
DATABASE = 7


@dataclass
class House:
    """A project whose runs are in the archive and no longer in Redis."""

    project: Project
    ids: dict[str, str]
    before: dict[str, Any]
    """What ``status --json`` said of them while Redis knew them."""
    logs: dict[str, str]
    listed: list[str]

    def cli(self, *args: str, **options: Any) -> Any:
        return self.project.cli(*args, **options)


def copy_to_archive(project: Project) -> None:
    """Put all finished runs and the ends of their logs into the archive."""
    settings = project.settings
    assert settings.archive_url is not None
    archive, ledger = Archive.open(settings.archive_url), project.ledger()
    archive.prepare()
    runs = ledger.read(ledger.client.zrange(ledger.keys.ids, 0, -1))  # type: ignore[arg-type]
    rows = [row_of(run, list(RunLog(ledger, run.id).lines())) for run in runs if run.final]
    archive.put(settings.namespace, rows)
    archive.close()
    ledger.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> House:
    project = write_project(
        tmp_path_factory.mktemp("archived") / "p",
        redis_server.database(DATABASE),
        JOBS,
        {"work.py": WORK},
        {"archive_url": "sqlite:///runner.db"},
    )
    with project.worker(concurrency=2):
        ids = {name: project.submit(name) for name in ("echo", "fail", "flow")}
        ids["revoked"] = project.submit("echo", "-p", "text=never", "--in", "1h")
        project.cli("revoke", ids["revoked"], "--comment", "not needed").check()
        for run_id in ids.values():
            project.wait_for_state(run_id, "SUCCESS", "FAILURE", "REVOKED")
    before = {name: project.document(run_id) for name, run_id in ids.items()}
    logs = {name: project.cli("logs", run_id, "--raw").check().stdout for name, run_id in ids.items()}
    listed = project.cli("runs", "--ids").check().stdout.split()
    copy_to_archive(project)
    client = project.redis()
    client.flushdb()
    client.close()
    return House(project, ids, before, logs, listed)


@pytest.fixture
def opened(house: House) -> Opened:
    return Opened.open(house.project.path)


@pytest.mark.parametrize("name", ENDS)
def test_status_and_wait_tell_how_it_ended(house: House, name: str) -> None:
    run_id, (state, code) = house.ids[name], ENDS[name]
    result = house.cli("status", run_id, "--exit-status", "--json").check(code)
    assert result.json == {**house.before[name], "archived": True}
    assert result.stderr == ""
    assert house.cli("wait", run_id[:13], "--json").check(code).json["state"] == state
    text = house.cli("status", run_id).check().stdout
    assert re.search(r"kept in +the archive", text)
    assert house.cli("status", run_id, "--archived", "--json").check().json == result.json


def test_several_are_waited_for_at_once(house: House) -> None:
    result = house.cli("wait", *house.ids.values()).check(1)
    assert "broken for good" in result.stderr
    assert "it is broken" in result.stderr


def test_a_flow_is_shown_with_its_steps(house: House) -> None:
    flow = house.ids["flow"]
    tree = house.cli("status", flow).check().stdout
    assert re.search(r"first +SUCCESS", tree)
    assert re.search(r"each +FAILURE", tree)
    assert "b is odd" in tree
    items = house.cli("runs", "--flow", flow[:8], "--job", "flow/each", "--sort", "oldest", "--json").check().json
    assert sorted(run["item"] for run in items) == [0, 1, 2]
    assert all(run["flow"] == flow for run in items)
    failed = house.cli("runs", "--flow", "@flow", "--state", "failure", "--ids").check().stdout.split()
    assert house.cli("status", *failed, "--exit-status").check(1)
    assert len(failed) == 1


def test_at_job_is_the_latest_run(house: House) -> None:
    for name in ("fail", "flow"):
        assert house.cli("status", f"@{name}", "--json").check().json["id"] == house.ids[name]
    assert house.cli("status", "@none").check(4).stderr.startswith("error: job none has no runs")


def test_what_is_in_neither_is_unknown(house: House) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    for verb in ("status", "wait", "logs", "why", "rerun", "revoke"):
        assert f"no run {unknown}" in house.cli(verb, unknown).check(4).stderr


def test_lists_have_them_in_the_same_order(house: House) -> None:
    assert house.cli("runs", "--ids").check().stdout.split() == house.listed
    assert house.cli("runs", "--archived", "--ids").check().stdout.split() == house.listed
    assert house.cli("runs", "--sort", "oldest", "--ids").check().stdout.split() == house.listed[::-1]
    found: list[str] = []
    more: list[str] = []
    for _ in house.listed:
        page = house.cli("runs", "--limit", "1", "--ids", *more).check()
        found += page.stdout.split()
        if (cursor := re.search("--cursor .*", page.stderr)) is None:
            break
        more = cursor[0].split()
    assert found == house.listed
    steps = house.cli("runs", "--steps", "--jsonl").check().stdout.splitlines()
    assert len(steps) == len(house.listed) + 4


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--job", "echo"], ["revoked", "echo"]),
        (["--job", "echo", "--state", "success"], ["echo"]),
        (["--state", "revoked", "--state", "failure", "--since", "1h"], ["revoked", "flow", "fail"]),
        (["--until", "1h"], []),
        (["--grep", "BROKEN for"], ["fail"]),
        (["--reason", "cancelled"], ["revoked"]),
        (["--tag", "loud", "--trigger", "cli"], ["revoked", "echo"]),
        (["--state", "pending"], []),
        (["--sort", "longest", "--job", "fail"], ["fail"]),
    ],
)
def test_lists_take_every_filter(house: House, words: list[str], names: list[str]) -> None:
    found = house.cli("runs", *words, "--json").check().json
    assert {run["id"] for run in found} == {house.ids[name] for name in names}
    rows = list(csv.DictReader(io.StringIO(house.cli("runs", *words, "--csv").check().stdout)))
    assert {row["id"] for row in rows} == {house.ids[name] for name in names}


def test_figures_count_them(house: House) -> None:
    stats = house.cli("stats", "echo", "--json").check().json
    assert (stats["runs"], stats["success_rate"], stats["sampled"]) == (2, 1.0, 1)
    assert sum(day["success"] + day["revoked"] for day in stats["days"]) == 2
    flow = house.cli("stats", "flow", "--archived", "--json").check().json
    assert [(step["step"], step["runs"]) for step in flow["steps"]] == [("first", 1), ("each", 3)]
    assert {row["job"]: row["runs"] for row in house.cli("stats", "--json").check().json} == {
        "echo": 2,
        "fail": 1,
        "flow": 1,
    }


def test_logs_have_the_end_of_what_they_wrote(house: House) -> None:
    for name in ("echo", "fail"):
        assert house.cli("logs", house.ids[name], "--raw").check().stdout == house.logs[name]
        assert house.cli("logs", house.ids[name], "--raw", "--follow").check().stdout == house.logs[name]
    assert house.cli("logs", "@fail", "--tail", "1", "--jsonl", "--archived").check().json["level"] == "ERROR"
    assert sorted(house.cli("logs", "@flow", "--raw").check().stdout.split("\n")) == sorted(
        house.logs["flow"].split("\n")
    )
    assert house.cli("logs", "@flow", "--step", "each[1]", "--raw").check().stdout == "item b\n"
    assert "has written nothing" in house.cli("logs", house.ids["revoked"]).check().stderr
    assert "has no step 'no'" in house.cli("logs", "@flow", "--step", "no").check(2).stderr


def test_why_explains_them(house: House) -> None:
    explanation = house.cli("why", house.ids["fail"]).check().stdout
    assert ": FAILURE (exception)\nthe job raised an error that is not retried" in explanation
    assert "last error: ValueError: broken for good" in explanation
    assert "> it is broken" in explanation
    assert "revoked by" in house.cli("why", house.ids["revoked"], "--archived").check().stdout
    explanation = house.cli("why", "@flow").check().stdout
    assert "step each failed (1 of 3 items)" in explanation
    [step] = house.cli("runs", "--flow", "@flow", "--job", "flow/first", "--ids").check().stdout.split()
    assert f"it is step first of flow {house.ids['flow']} (flow, FAILURE)" in house.cli("why", step).check().stdout


def test_what_changes_runs_knows_that_they_have_ended(house: House) -> None:
    assert house.cli("revoke", house.ids["echo"], "--json").check().json["state"] == "SUCCESS"
    assert "it is SUCCESS" in house.cli("approve", house.ids["echo"]).check(5).stderr
    message = house.cli("rerun", house.ids["flow"], "--from-failed").check(5).stderr
    assert "only in the archive" in message
    assert house.cli("watch", house.ids["echo"], "--jsonl").check().json["state"] == "SUCCESS"


def test_one_is_run_again_with_its_params_and_stands_before_those_in_the_archive(house: House) -> None:
    again = house.cli("rerun", house.ids["revoked"], "--json").check().json
    try:
        assert (again["params"], again["rerun_of"], again["state"]) == (
            {"text": "never"},
            house.ids["revoked"],
            "PENDING",
        )
        assert house.cli("runs", "--ids").check().stdout.split() == [again["id"], *house.listed]
        assert house.cli("runs", "--archived", "--ids").check().stdout.split() == house.listed
        assert house.cli("status", "@echo", "--json").check().json["id"] == again["id"]
        assert house.cli("status", "@echo", "--archived", "--json").check().json["id"] == house.ids["revoked"]
        stats = house.cli("stats", "echo", "--json").check().json
        assert (stats["runs"], stats["states"]["PENDING"]) == (3, 1)
        assert house.cli("status", again["id"], "--archived").check(4)
    finally:
        client = house.project.redis()
        client.flushdb()
        client.close()


def test_programs_read_them(house: House) -> None:
    path = house.project.path
    run = runner.get_run(house.ids["echo"][:12], project=path)
    assert (run.state, run.result, run.document()["archived"]) == ("SUCCESS", {"text": "hi"}, True)
    assert run.wait(timeout=5).id == house.ids["echo"]
    flow = runner.get_run("@flow", project=path, archived=True)
    assert flow.steps["first"].result == {"text": "first"}
    assert flow.steps["each"].results == ["a", None, "c"]
    page = runner.get_runs(project=path, limit=2)
    assert [found.id for found in page] == house.listed[:2]
    assert [found.id for found in runner.get_runs(project=path, cursor=page.cursor, archived=True)] == house.listed[2:]
    assert runner.get_run(house.ids["echo"], project=path).revoke().state == "SUCCESS"
    with pytest.raises(UnknownRun):
        runner.get_run("00000000-0000-4000-8000-000000000000", project=path)


def test_celerys_results_read_them(house: House) -> None:
    app = create_app(house.project.settings, house.project.catalog)
    assert app.AsyncResult(house.ids["echo"]).state == "SUCCESS"
    assert app.AsyncResult(house.ids["echo"]).get(timeout=10) == {"text": "hi"}
    failed = app.AsyncResult(house.ids["fail"])
    assert failed.backend.task_result_exists(house.ids["fail"])
    with pytest.raises(ValueError, match="broken for good"):
        failed.get(timeout=10)
    assert app.AsyncResult("unknown").state == "PENDING"
    assert not failed.backend.task_result_exists("unknown")
    del failed
    gc.collect()


def test_the_web_shows_them(house: House) -> None:
    run_id, flow = house.ids["fail"], house.ids["flow"]
    with serving(house.project) as web, web.client() as client:
        assert client.get(f"/api/v1/runs/{run_id}").json() == {**house.before["fail"], "archived": True}
        assert client.get("/api/v1/runs", params={"archived": "on"}).json()["runs"][0]["archived"] is True
        assert [run["id"] for run in client.get("/api/v1/runs").json()["runs"]] == house.listed
        lines = client.get(f"/api/v1/runs/{run_id}/log").json()["lines"]
        assert [line["text"] for line in lines] == house.logs["fail"].splitlines()
        stream = client.get(f"/api/v1/runs/{run_id}/log/stream").text
        assert "about to fail" in stream
        assert "event: end" in stream
        assert "broken for good" in json.dumps(client.get(f"/api/v1/runs/{run_id}/why").json())
        assert client.get("/api/v1/jobs/echo/stats").json()["runs"] == 2
        page = client.get(f"/runs/{run_id}").text
        assert "From the archive" in page
        assert "about to fail" in page
        page = client.get(f"/runs/{flow}").text
        assert "From the archive" in page
        assert "3 items" in page or "1 of 3" in page
        assert "<svg" in page
        assert "item b" in client.get(f"/runs/{flow}/log").text
        assert run_id[:8] in client.get("/runs").text
        assert run_id[:8] in client.get("/jobs/fail").text
        assert client.get(f"/jobs/echo?like={house.ids['revoked']}").text.count("never") >= 1
        unknown = client.get("/api/v1/runs/00000000-0000-4000-8000-000000000000")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_run")
        assert isinstance(client, httpx.Client)


# -- the archive away


@pytest.fixture(params=["postgresql", "no database"])
def away(house: House, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[House, str]]:
    """The project with an archive that cannot be reached, and a run that Redis knows."""
    (tmp_path / "text.db").write_text("this is not a database, but a text of some length\n" * 100)
    urls = {
        "postgresql": f"postgresql://runner:geheim@127.0.0.1:{free_port()}/runner",
        "no database": f"sqlite:///{tmp_path}/text.db",
    }
    file = house.project.path / "runner.yaml"
    text = file.read_text()
    file.write_text(yaml.safe_dump({**yaml.safe_load(text), "archive_url": urls[request.param]}))
    try:
        yield house, house.project.submit("echo")
    finally:
        file.write_text(text)
        client = house.project.redis()
        client.flushdb()
        client.close()


def test_without_the_archive_the_ledger_answers(away: tuple[House, str]) -> None:
    house, run_id = away
    result = house.cli("runs", "--ids").check()
    assert result.stdout.split() == [run_id]
    assert result.stderr.startswith("warning: runs that only the archive has are missing: the archive ")
    assert result.stderr.count("warning") == 1
    assert "geheim" not in result.stderr
    assert house.cli("status", run_id, "--json").check().stderr == ""
    assert house.cli("status", "@echo").check().stderr == ""
    result = house.cli("status", house.ids["echo"]).check(4)
    assert "warning: runs that only the archive has are missing" in result.stderr
    assert f"no run {house.ids['echo']}" in result.stderr
    assert house.cli("stats", "echo", "--json").check().json["runs"] == 1


@pytest.mark.parametrize("words", [["status", "ID"], ["runs"], ["logs", "ID"], ["why", "ID"], ["stats"]])
def test_without_the_archive_nothing_else_answers_for_it(away: tuple[House, str], words: list[str]) -> None:
    house, run_id = away
    result = house.cli(*[run_id if word == "ID" else word for word in words], "--archived").check(69)
    assert result.stderr.startswith("error: the archive ")
    assert "\nhint: " in result.stderr
    assert "geheim" not in result.stderr
    assert result.stdout == ""


def test_without_redis_the_archive_answers_alone(house: House) -> None:
    env = {"RUNNER_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    assert house.cli("status", house.ids["fail"], "--archived", "--exit-status", env=env).check(1)
    assert house.cli("runs", "--archived", "--ids", env=env).check().stdout.split() == house.listed
    assert "it is broken" in house.cli("why", "@fail", "--archived", env=env).check().stdout
    assert house.cli("logs", "@fail", "--archived", "--raw", env=env).check().stdout == house.logs["fail"]
    assert house.cli("status", house.ids["fail"], env=env).check(69)


def test_a_project_without_an_archive_says_so(make_project: Any) -> None:
    project: Project = make_project(JOBS)
    for words in (["runs"], ["status", "12345678"], ["logs", "12345678"], ["why", "12345678"], ["stats"]):
        message = project.cli(*words, "--archived").check(2).stderr
        assert "this project has no archive" in message
        assert "archive_url" in message
    with pytest.raises(UsageError, match="no archive"):
        runner.get_runs(project=project.path, archived=True)


def test_an_archive_that_is_away_is_an_error_of_programs(away: tuple[House, str]) -> None:
    house, run_id = away
    opened = Opened.open(house.project.path)
    with pytest.raises(ArchiveUnavailable):
        opened.reading(archived=True).get(run_id)
    assert opened.records.get(run_id).state == "PENDING"


@pytest.mark.parametrize("away", ["postgresql"], indirect=True)
def test_the_archive_is_not_opened_for_what_redis_knows(away: tuple[House, str]) -> None:
    """A database that is not asked costs nothing: not even the import of SQLAlchemy."""
    house, run_id = away
    program = (
        "import sys\n"
        "from runner.__main__ import main\n"
        f"sys.argv = ['runner', '--project', {str(house.project.path)!r}, *sys.argv[1:]]\n"
        "try:\n    main()\nfinally:\n    print('sqlalchemy' in sys.modules, file=sys.stderr)\n"
    )
    for words in (["status", run_id], ["logs", run_id], ["runs", "--state", "pending"], ["--help"]):
        done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1] == "False", done.stderr
