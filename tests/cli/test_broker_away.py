"""RabbitMQ is away: each way of submitting says that the run is recorded and not handed over, with exit code 69."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import runner
from runner.errors import NotHandedOver, PartlySubmitted
from tests.support.project import Project, write_project
from tests.support.servers import Server, free_port

JOBS = {"add": {"task": "work:add", "params": {"a": {"type": "integer", "default": 1}}}}
SCHEDULED = {"often": {"task": "work:add", "schedule": {"cron": "* * * * *", "catchup": "last"}}}
PASSWORD = "hunter2-and-more"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Project:
    url = f"amqp://app:{PASSWORD}@127.0.0.1:{free_port()}/prod"
    folder = tmp_path_factory.mktemp("away")
    return write_project(folder, redis_server.url, JOBS | SCHEDULED, {"work.py": ""}, {"broker_url": url}, None)


def pending(project: Project, run_id: str) -> bool:
    found = project.cli("status", run_id, "--json").check().json
    return bool(found["state"] == "PENDING")


def test_submit_names_the_run_and_what_is_wrong(project: Project) -> None:
    done = project.cli("submit", "add").check(69)
    assert done.stdout == ""
    assert "is recorded, not handed over: RabbitMQ at amqp://app@127.0.0.1:" in done.stderr
    assert "Connection refused" in done.stderr
    assert "do not submit again" in done.stderr
    assert PASSWORD not in done.stderr
    run_id = done.stderr.split()[2]
    assert f"runner status {run_id}" in done.stderr
    assert pending(project, run_id)


def test_submit_says_it_in_json(project: Project) -> None:
    error = project.cli("submit", "add", "--json").check(69).json["error"]
    assert error["code"] == "not_handed_over"
    assert error["exit_code"] == 69
    assert pending(project, error["message"].split()[1])


def test_submit_with_the_same_key_finds_the_run_that_is_recorded(project: Project) -> None:
    project.cli("submit", "add", "--key", "k1").check(69)
    again = project.cli("submit", "add", "--key", "k1").check(0)
    assert pending(project, again.id)


def test_a_run_that_starts_later_is_not_to_be_handed_over_yet(project: Project) -> None:
    assert pending(project, project.cli("submit", "add", "--in", "1h").check(0).id)


def test_many_lines_are_recorded_and_named(project: Project) -> None:
    # More than one batch: Redis takes them all.
    lines = "".join(json.dumps({"a": number}) + "\n" for number in range(1001))
    done = project.cli("submit", "add", "--params-file", "-", input=lines).check(69)
    assert len(done.stdout.split()) == 1001
    assert done.stderr.count("1,001 runs are recorded, not handed over: RabbitMQ at amqp://app@") == 1
    assert "do not submit again" in done.stderr
    assert "go on from" not in done.stderr
    documents = project.cli("submit", "add", "--params-file", "-", "--json", input=lines).check(69).json
    assert len(documents) == 1002
    assert documents[-1]["error"]["code"] == "not_handed_over"


def test_a_line_that_is_refused_is_told_too(project: Project) -> None:
    done = project.cli("submit", "add", "--params-file", "-", input='{"a": 1}\n{"a": "x"}\n').check(69)
    assert "1 run is recorded, not handed over" in done.stderr
    assert "error: line 2: " in done.stderr


def test_python_raises_with_the_id(project: Project) -> None:
    with pytest.raises(NotHandedOver) as raised:
        runner.submit("add", project=project.path)
    assert raised.value.run_id is not None
    assert runner.get_run(raised.value.run_id, project=project.path).state == "PENDING"
    with pytest.raises(PartlySubmitted) as partly:
        runner.submit_many("add", [{"a": number} for number in range(501)], project=project.path)
    assert len(partly.value.runs) == 501
    assert isinstance(partly.value.stopped_by, NotHandedOver)
    assert len(partly.value.stopped_by.run_ids) == 501
    assert "do not submit again" in str(partly.value.hint)


def test_a_tick_does_its_work(project: Project) -> None:
    project.cli("tick").check(0)


def test_worker_settings_of_celery_show_no_password(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.app.factory import create_app

    app = create_app(project.settings, project.catalog)
    assert PASSWORD in app.own_secrets
    with pytest.raises(NotHandedOver) as raised:
        app.send_task("add", kwargs={"a": 2})
    assert raised.value.run_id is not None
    assert pending(project, raised.value.run_id)
    app.close()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("redis://127.0.0.1:1/5", "is another Redis or database than redis_url"),
        ("http://x", "http:// is not supported"),
        ("amqp://a,b/", "has several hosts"),
        ("amqp://h/a/b", "has a / in the virtual host"),
        ("amqp://h?heartbeet=1", "has an option heartbeet"),
        ("amqp://h?verify=verify_none", "in a URL without TLS"),
        ("amqps://h?verify=maybe", "write verify_peer or verify_none"),
        ("amqp://h:0", "has port 0"),
        ("env:NO_SUCH_BROKER", "NO_SUCH_BROKER is not set, set it to the URL of your RabbitMQ"),
    ],
)
def test_a_wrong_url_is_refused(make: Callable[[str], Project], value: str, told: str) -> None:
    done = make(value).cli("jobs").check(2)
    assert "broker_url" in done.stderr
    assert told in done.stderr


@pytest.fixture
def make(tmp_path: Path, redis_server: Server) -> Callable[[str], Project]:
    def made(url: str) -> Project:
        return write_project(tmp_path / "p", redis_server.url, JOBS, {}, {"broker_url": url}, None)

    return made


def test_the_url_of_the_ledger_itself_is_redis(make: Callable[[str], Project], redis_server: Server) -> None:
    assert make(redis_server.url).settings.broker_url is None
    assert not make(redis_server.url).settings.on_amqp
