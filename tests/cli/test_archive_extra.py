"""Where the packages of the archive are missing, whatever asks it says how to install them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.cli.jobs import FILES
from tests.support.project import Project
from tests.support.scripts import python

UNKNOWN = "00000000-0000-4000-8000-000000000000"
JOBS = {"hello": {"task": "clijobs:hello"}}
HINT = 'pip install "celery-runner[archive]"'
COMMANDS = {
    "runs": 2,
    f"status {UNKNOWN}": 2,
    f"wait {UNKNOWN}": 2,
    f"why {UNKNOWN}": 2,
    f"logs {UNKNOWN}": 2,
    f"rerun {UNKNOWN}": 2,
    f"forget {UNKNOWN}": 2,
    "status @hello": 2,
    "stats": 2,
    "runs --archived": 2,
    "archive": 2,
    "archive --status": 2,
    "archive --follow": 2,
    "doctor": 1,
    "worker": 2,
}
WEB = ("/runs", "/api/v1/runs", f"/api/v1/runs/{UNKNOWN}", "/api/v1/jobs/hello/stats")

SCRIPT = """
import contextlib, io, json, sys

for name in json.loads(sys.argv[1]):
    sys.modules[name] = None  # no import finds it

from runner.cli.main import run

said = {}
for words in json.loads(sys.argv[2]):
    streams = io.StringIO()
    with contextlib.redirect_stdout(streams), contextlib.redirect_stderr(streams):
        code = run(words.split())
    said[words] = code, streams.getvalue()
if not (paths := json.loads(sys.argv[3])):
    print(json.dumps(said))
    sys.exit()

import runner
from django.conf import settings
from starlette.testclient import TestClient
from runner.actions.project import Project
from runner.actions.projects import Projects
from runner.app.factory import create_app
from runner.errors import RunnerError
from runner.settings import load_settings
from runner.web.server import create_web_app

settings.configure()
from runner.django.backend import RunnerBackend

project = Project(load_settings())
app = create_app(project.settings, project.catalog)
for name, call in {
    "AsyncResult": lambda: app.AsyncResult("unknown").state,
    "get_run": lambda: runner.get_run("00000000-0000-4000-8000-000000000000"),
    "get_result": lambda: RunnerBackend("default", {"OPTIONS": {"project": "."}}).get_result("unknown"),
    "get_runs": lambda: list(runner.get_runs()),
}.items():
    try:
        said[name] = 0, str(call())
    except RunnerError as error:
        said[name] = error.exit_code, f"{error.message} {error.hint}"
client = TestClient(
    create_web_app(Projects([project]), host="127.0.0.1", start_token="t" * 43), base_url="http://127.0.0.1"
)
client.headers["Authorization"] = "Bearer " + "t" * 43
for path in paths:
    answer = client.get(path)
    said[path] = answer.status_code, answer.text.replace("&#34;", '"').replace('\\\\"', '"')
print(json.dumps(said))
"""


def ask(project: Project, missing: list[str], commands: list[str], paths: list[str]) -> dict[str, Any]:
    return dict(python(project, "-c", SCRIPT, *map(json.dumps, (missing, commands, paths))))


def test_without_sqlalchemy_everything_says_what_to_install(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES, settings={"archive_url": "sqlite:///a.db"})
    answers = ask(project, ["sqlalchemy"], list(COMMANDS), list(WEB))
    wanted = {**COMMANDS, **dict.fromkeys(("AsyncResult", "get_run", "get_result", "get_runs"), 2)}
    assert {name: answers[name][0] for name in wanted} == wanted
    for name in (*wanted, *WEB):
        assert HINT in answers[name][1], (name, answers[name])
        assert "sqlalchemy is missing" in answers[name][1]
    assert all(400 <= answers[path][0] < 500 for path in WEB)


def test_without_psycopg_postgresql_is_not_asked(make_project: Callable[..., Project]) -> None:
    url = "postgresql://u:geheim@127.0.0.1:1/x"
    project = make_project(JOBS, FILES, settings={"archive_url": url})
    for missing in (["psycopg"], ["psycopg.pq"]):
        answers = ask(project, missing, ["runs", "archive --status", "doctor"], [])
        assert [answers[name][0] for name in ("runs", "archive --status", "doctor")] == [2, 2, 1]
        for code, output in answers.values():
            assert HINT in output, (code, output)
            assert "geheim" not in output
