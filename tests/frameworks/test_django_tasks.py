"""Django's task framework on the runner, with a real project, a real PostgreSQL, and a real worker.

The project enqueues, the worker runs, and the project reads: once, for all tests of this file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import django
import pytest
import yaml

from runner.django.priorities import to_run, to_task
from tests.support.postgres import postgres
from tests.support.project import Project, write_project
from tests.support.scripts import python
from tests.support.servers import Server

HERE = Path(__file__).parent

pytestmark = pytest.mark.timeout(400)  # the first one does the work of all, on a machine that may be busy


class Told(NamedTuple):
    """What the project said: when it enqueued, and when it read the results."""

    project: Project
    enqueued: dict[str, Any]
    read: dict[str, Any]

    def result(self, run_id: str) -> dict[str, Any]:
        return dict(self.read["results"][run_id])


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Told]:
    project = write_project(tmp_path_factory.mktemp("office") / "p", redis_server.url)
    shutil.copytree(HERE / "django_office", project.path, dirs_exist_ok=True)
    settings = (project.path / "runner.yaml").read_text().replace("env:OFFICE_RUNS_URL", redis_server.url)
    project.write({"runner.yaml": f"{settings}namespace: {project.namespace}\n"})
    away = f"redis_url: {redis_server.url}\nnamespace: {project.namespace}-away\nbroker_url: amqp://127.0.0.1:1/\n"
    project.write(
        {
            "away/runner.yaml": away,
            "away/jobs.d/office.yaml": (HERE / "django_office/dead/jobs.d/office.yaml").read_text(),
        }
    )
    with postgres() as server:
        project.environment.update(OFFICE_PORT=str(server.port), OFFICE_DATABASE="postgres", RUNNER_PROJECT="/nowhere")
        enqueued = python(project, "enqueue.py")
        project.environment["RUNNER_PROJECT"] = str(project.path)
        runs = [enqueued["at_once"], enqueued["committed"][0], enqueued["async"][0]]
        runs += [enqueued["context"], enqueued["failing"], *enqueued["once"]]
        with project.worker("-Q", "default,counting", concurrency=1):
            yield Told(project, enqueued, python(project, "read.py", *runs))


def test_a_transaction_that_rolls_back_leaves_no_run(office: Told) -> None:
    run_id, known = office.enqueued["rolled_back"]
    assert not known
    office.project.cli("status", run_id).check(4)
    assert not office.enqueued["savepoint"]


def test_a_transaction_that_commits_makes_one_run(office: Told) -> None:
    # No run before, under an id that is known already.
    assert office.enqueued["before"] == [False, "READY", None]
    run_id, *after = office.enqueued["committed"]
    assert after == [True, "READY", True]
    assert office.project.document(run_id)["params"] == {"least": 5, "note": "yes"}
    found = office.project.cli("runs", "--job", "count-invoices", "--json", "--limit", "100").check().json
    later, _, _, _ = office.enqueued["later"]
    assert {run["id"] for run in found} == {run_id, office.enqueued["at_once"], later}
    result = office.result(run_id)
    # The run sees what the transaction has written.
    assert result["value"] == {"count": 1, "note": "yes"}
    assert (result["args"], result["kwargs"]) == ([], {"least": 5, "note": "yes"})


def test_redis_is_away_when_a_transaction_commits(office: Told) -> None:
    (kind, text), written = office.enqueued["away"]
    # It is noticed after the commit, which stands.
    assert office.enqueued["entered"]
    assert (kind, written) == ("Unavailable", 1)
    assert "it is not known whether run" in text


def test_rabbitmq_is_away_when_a_transaction_commits(office: Told) -> None:
    # The run is recorded, so nobody may think that it must be enqueued again.
    assert office.enqueued["rabbitmq"] == []
    assert office.enqueued["not handed over"] == ["PENDING", True]


def test_a_result_tells_what_the_ledger_knows(office: Told) -> None:
    result = office.result(office.enqueued["committed"][0])
    assert (result["state"], result["status"], result["function"]) == ("SUCCESS", "SUCCESSFUL", "count_invoices")
    assert (result["finished"], result["attempts"], result["workers"], result["errors"]) == (True, 1, True, [])
    assert result["ordered"]


def test_a_task_is_enqueued_at_once_without_a_transaction(office: Told) -> None:
    assert office.result(office.enqueued["at_once"])["value"] is not None
    # That takes no connection to the database.
    assert office.enqueued["connected"] is False


def test_coroutines_enqueue_and_run(office: Told) -> None:
    run_id, status = office.enqueued["async"]
    assert status == "READY"
    assert office.result(run_id)["value"] == "ring Ann"
    assert office.project.document(run_id)["priority"] == to_run(50)


def test_a_task_may_take_a_context(office: Told) -> None:
    assert office.result(office.enqueued["context"])["value"] == [1, True, {"name": "Bob"}, "RUNNING", "Bob"]


def test_a_failure_has_the_error_of_each_attempt(office: Told) -> None:
    result = office.result(office.enqueued["failing"])
    assert (result["state"], result["status"], result["attempts"]) == ("FAILURE", "FAILED", 2)
    types, texts = zip(*result["errors"], strict=True)
    assert types == ("ValueError", "ValueError")
    assert "no ink in attempt 1" in texts[0]
    assert "no ink in attempt 2" in texts[1]
    assert "Traceback" in texts[1]


def test_an_id_stays_good_where_the_run_is_skipped(office: Told) -> None:
    first, second = office.enqueued["once"]
    assert first != second
    assert office.result(first)["value"] == 1
    result = office.result(second)
    assert (result["state"], result["status"]) == ("REVOKED", "FAILED")
    ((kind, text),) = result["errors"]
    assert kind == "RunRevoked"
    assert "skipped" in text


def test_time_queue_and_priority_of_a_task(office: Told) -> None:
    run_id, *options = office.enqueued["later"]
    assert options == ["later", -100, True]
    run = office.project.document(run_id)
    assert (run["state"], run["queue"], run["priority"], run["eta"] is not None) == ("PENDING", "later", 0, True)
    # What a task leaves open, its job says.
    run = office.project.document(office.enqueued["at_once"])
    assert (run["queue"], run["priority"]) == ("counting", 5)


def test_a_function_that_no_job_declares(office: Told) -> None:
    kind, text = office.enqueued["refused"]["no job"]
    assert kind.startswith("InvalidTask")
    assert text.startswith("no job declares office.tasks.file_away, so it cannot be enqueued")
    # What it says to write can be pasted, and is enough.
    file, _, pasted = text.partition("Write into ")[2].partition(", for example:\n\n")
    assert yaml.safe_load(pasted)["jobs"]["file-away"]["params"]["copies"] == {"type": "integer", "default": 1}
    Path(file).write_text(pasted)
    try:
        office.project.cli("validate", "--imports").check()
        office.project.submit("file-away", "-p", "day=2026-11-28")
    finally:
        Path(file).unlink()


@pytest.mark.parametrize(
    ("case", "kind", "part"),
    [
        ("no job could", "InvalidTask", "takes day by position only"),
        ("two jobs", "InvalidTask", "{'jobs': {'office.tasks.print_invoice': 'print-black'}}"),
        ("params", "InvalidParams", "least"),
        ("unknown", "TypeError", "unexpected keyword argument 'most'"),
        ("no JSON", "TypeError", "object"),
        ("disabled", "JobDisabled", "job closed is disabled"),
        ("another task", "TaskResultMismatch", "office.tasks.count_invoices"),
        ("no id", "TaskResultDoesNotExist", "'no id' is not an id"),
    ],
)
def test_what_cannot_be_enqueued_or_read(office: Told, case: str, kind: str, part: str) -> None:
    raised, text = office.enqueued["refused"][case]
    assert raised.startswith(kind)
    assert part in text


def test_the_framework_of_this_version(office: Told) -> None:
    assert office.read["home"] == ("django.tasks" if django.VERSION >= (6,) else "django_tasks")
    assert office.read["plain"] == "plain"


CHECKS = """
import json
from office.boot import setup
setup()
from office import tasks
from django.core.checks import run_checks
from django.test import override_settings
said = {}
for case, options in json.loads(%r).items():
    with override_settings(TASKS={"default": {"BACKEND": "runner.django.backend.RunnerBackend", "OPTIONS": options}}):
        said[case] = [[each.id, each.msg, each.hint] for each in run_checks()]
print(json.dumps(said))
"""


def test_system_checks(office: Told) -> None:
    project = office.project
    cases: dict[str, Any] = {
        "sound": {"project": str(project.path)},
        "no project": {"project": str(project.path / "nowhere")},
        "options": {"project": str(project.path), "projects": 1, "jobs": {"office.tasks.print_invoice": "print-blak"}},
        "unset": {"project": str(HERE / "django_office")},
    }
    problems = python(project, "-c", CHECKS % json.dumps(cases))
    assert problems["sound"] == []
    ((code, message, hint),) = problems["no project"]
    assert code == "runner.E002"
    assert "nowhere" in message
    assert hint
    assert [problem[0] for problem in problems["options"]] == ["runner.E001", "runner.E003"]
    assert "did you mean project?" in problems["options"][0][1]
    assert "did you mean print-black?" in problems["options"][1][1]
    ((code, message, _),) = problems["unset"]
    assert code == "runner.E002"
    assert "OFFICE_RUNS_URL" in message


def test_priorities_keep_their_order() -> None:
    assert to_run(0) is None
    found = [to_run(priority) for priority in range(-100, 101) if priority != 0]
    assert found == sorted(found, key=int)
    assert set(found) == set(range(10))
    assert [to_run(to_task(index)) for index in range(10)] == [*range(5), None, *range(6, 10)]
