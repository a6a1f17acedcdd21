"""The doctor, `queues`, `metrics`, and `why` tell of RabbitMQ: what it holds, what it refuses, and that it is away."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.rabbit import VirtualHost
from tests.support.servers import Server, free_port

JOBS = {"hello": {"task": "work:hello"}, "report": {"task": "work:hello", "queue": "reports"}}
WORK = {"work.py": "def hello(): return 1\n"}
PASSWORD = "a secret/of @ours"


@pytest.fixture
def project(make_project: Callable[..., Project], rabbit_host: VirtualHost) -> Project:
    return make_project(JOBS, WORK, {"broker_url": rabbit_host.url})


def findings(project: Project, name: str, exit_code: int) -> list[dict[str, Any]]:
    """Return the doctor's findings with this name."""
    done = project.cli("doctor", "--json").check(exit_code)
    return [check for check in done.json["checks"] if check["name"] == name]


def test_what_waits_is_told(project: Project, rabbit_host: VirtualHost) -> None:
    run_id = project.submit("hello")
    (queue,) = project.cli("queues", "--json").check().json
    assert (queue["waiting"], queue["hints"]) == (1, 1)
    assert "HINTS" in project.cli("queues").check().stdout
    metrics = project.cli("metrics").check().stdout
    for line in ("runner_broker_up 1.0", "runner_hints_unpublished 0.0", 'runner_queue_hints{queue="default"} 1.0'):
        assert line in metrics
    (finding,) = findings(project, "broker", 1)  # no worker takes what waits
    assert finding["level"] == "ok"
    assert "RabbitMQ 3." in finding["what"]
    assert project.cli("why", run_id, "--json").check().json["facts"]["broker"] is None
    # Hints that nobody publishes.
    with project.redis() as redis:
        redis.zadd(f"{project.namespace}:hints", {'{"id":"x","queue":"default","priority":5}': 1})
    (finding,) = findings(project, "hints", 1)
    assert finding["level"] == "warning"
    assert "1 hint to publish" in finding["what"]
    assert rabbit_host.node.password not in project.cli("doctor").stdout


def test_a_broker_that_is_away_is_told_everywhere(make_project: Callable[..., Project]) -> None:
    url = f"amqp://joe:hidden-word@127.0.0.1:{free_port()}/"
    project = make_project(JOBS, WORK, {"broker_url": url})
    done = project.cli("submit", "hello").check(69)
    assert "recorded, not handed over" in done.stderr
    (queue,) = project.cli("queues", "--json").check().json
    assert (queue["waiting"], queue["hints"]) == (1, None)
    outputs = [done.stderr]
    for words, exit_code in ((("queues",), 0), (("why", "@hello"), 0), (("doctor",), 1)):
        asked = project.cli(*words).check(exit_code)
        assert "cannot be reached" in asked.stdout + asked.stderr, words
        outputs += [asked.stdout, asked.stderr]
    metrics = project.cli("metrics").check().stdout
    assert "runner_broker_up 0.0" in metrics
    assert "runner_hints_unpublished 1.0" in metrics
    assert not any("hidden-word" in output or "Traceback" in output for output in outputs)


def test_missing_permissions_are_named_with_the_command_that_grants_them(
    make_project: Callable[..., Project], rabbit_host: VirtualHost
) -> None:
    user = f"u{rabbit_host.name}"
    rabbit_host.node.add_user(user, PASSWORD)
    rabbit_host.permit(user, "", "", "")
    project = make_project(JOBS, WORK, {"broker_url": rabbit_host.url_of(user, PASSWORD)})
    try:
        refused = project.cli("submit", "hello").check(69)
        assert PASSWORD not in refused.stderr
        (finding,) = findings(project, "broker-permissions", 1)
        assert f"configure {project.namespace}.default" in finding["what"]
        assert f"read {project.namespace}.reports" in finding["what"]
        assert "write amq.default" in finding["what"]
        assert rabbit_host.queues() == {}, "the doctor has made a queue"
        # A worker does not start, and says the same.
        stopped = project.cli("worker", "-c", "1").check(2)
        assert "rabbitmqctl set_permissions" in stopped.stderr
        assert f"configure {project.namespace}.default" in stopped.stderr
        assert not any(text in stopped.stderr for text in ("Traceback", PASSWORD))
        program, *words = shlex.split(finding["remedy"])
        assert program == "rabbitmqctl"
        rabbit_host.node.ctl(*words)
        # With these permissions, and no others, everything works.
        assert findings(project, "broker-permissions", 1) == []
        with project.worker("-Q", "default,reports", concurrency=1) as worker:
            project.cli("submit", "report", "--wait").check()
            wait_until(lambda: rabbit_host.consumers(f"{project.namespace}.reports"), 20.0, "it consumes")
            assert findings(project, "broker-permissions", 0) == []
            assert "refuse" not in worker.log.lower()
    finally:
        rabbit_host.node.delete_user(user)


OTHERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "priorities": ({"x_max_priority": 10}, "ok", "x-max-priority"),
    "quorum": ({"x_queue_type": "quorum"}, "ok", "x-queue-type"),
    "limited": ({"x_max_length": 1, "x_message_ttl": 1000}, "ok", "x-m"),
    "transient": ({"durable": False}, "warning", "'durable'"),
}


def test_queues_that_somebody_else_has_declared_are_used_and_named(
    make_project: Callable[..., Project], rabbit_host: VirtualHost
) -> None:
    jobs = {name: {"task": "work:hello", "queue": name} for name in (*OTHERS, "locked")}
    project = make_project(jobs, WORK, {"broker_url": rabbit_host.url})
    for name, (arguments, _, _) in OTHERS.items():
        rabbit_host.declare(f"{project.namespace}.{name}", **arguments)
    with rabbit_host.connect() as other:
        other.channel().queue_declare(f"{project.namespace}.locked", exclusive=True)
        reported = findings(project, "hint-queues", 1)
        for name, (_, level, text) in OTHERS.items():
            assert any(
                finding["level"] == level and text in finding["what"] and f".{name}" in finding["what"]
                for finding in reported
            ), name
        assert any(finding["level"] == "problem" and ".locked" in finding["what"] for finding in reported)
        with project.worker("-Q", ",".join(jobs), concurrency=1) as worker:
            sent = [project.submit(name) for name in jobs for _ in range(2)]
            for run_id in sent:
                project.wait_for_state(run_id, "SUCCESS")
            assert worker.process.poll() is None
            assert "Traceback" not in worker.log


def test_workers_with_another_broker_are_named(project: Project, tmp_path: Path, redis_server: Server) -> None:
    without = write_project(tmp_path / "redis", redis_server.url, JOBS, WORK, None, project.namespace)
    with without.worker("-Q", "default,reports", concurrency=1):
        [finding] = findings(project, "brokers", 1)
        assert finding["level"] == "warning"
        assert "the broker is RabbitMQ here, but Redis for celery-" in finding["what"]
        assert findings(without, "brokers", 0) == []
        # The run starts all the same, with the next beat.
        project.cli("submit", "hello", "--wait").check()
