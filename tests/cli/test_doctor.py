"""``runner doctor``: its report, its repairs, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from runner.cli.doctor import report_lines
from runner.ledger.health.finding import ok, problem, warning
from tests.cli.jobs import FILES, JOBS
from tests.support.answers import text
from tests.support.project import Project, Result
from tests.support.servers import Server, free_port

HELLO = 'jobs:\n  hello: {task: "clijobs:hello"}\n'


def checks(result: Result) -> dict[str, dict[str, Any]]:
    """Return the checks by name; of several with the same name, the worst one."""
    ranks = ["ok", "warning", "problem"]
    return {
        check["name"]: check for check in sorted(result.json["checks"], key=lambda check: ranks.index(check["level"]))
    }


@pytest.fixture
def sound(make_project: Callable[..., Project]) -> Project:
    return make_project(HELLO, FILES)


def test_a_sound_project_needs_no_attention(sound: Project) -> None:
    result = sound.cli("doctor").check(0)
    assert result.stderr == ""
    assert result.stdout.splitlines()[0].split() == ["LEVEL", "CHECK", "FOUND"]
    assert all(line.startswith(("LEVEL", "ok ")) for line in result.stdout.splitlines())
    found = sound.cli("doctor", "--json").check(0).json
    assert found["status"] == "ok"
    assert set(found["checks"][0]) == {"name", "level", "what", "remedy", "repairable", "count", "examples"}


def test_a_terminal_shows_what_needs_attention_first_and_counts_the_rest() -> None:
    found = [
        problem("workers", "3 runs waiting, and no worker is alive", "start one: runner worker"),
        warning("durability", "a power failure loses the writes of the last second, which is at most what it is", "y"),
        ok("server", "the embedded server answers"),
        ok("clock", "0.0 s behind"),
    ]
    shown = list(report_lines(found, width=60, everything=False, colored=False))
    assert shown == [
        "problem  workers: 3 runs waiting, and no worker is alive",
        "         hint: start one: runner worker",
        "warning  durability: a power failure loses the writes of the",
        "         last second, which is at most what it is",
        "         hint: y",
        "",
        "2 checks passed (runner doctor --all lists them)",
    ]
    everything = list(report_lines(found, width=60, everything=True, colored=False))
    passed = ["ok       server: the embedded server answers", "ok       clock: 0.0 s behind"]
    assert everything == [*shown[:5], *passed, "", "2 checks passed"]
    assert list(report_lines(found[2:], width=60, everything=False, colored=False)) == [shown[-1]]


def test_a_sound_project_with_a_worker_that_works(served: Project) -> None:
    served.cli("submit", "hello", "--wait").check(0)
    result = served.cli("doctor", "--json")
    found = checks(result)
    assert found["workers"]["what"].startswith("1 worker")
    assert {found[name]["level"] for name in ("workers", "versions", "clock")} == {"ok"}
    assert "beats" not in found
    assert "worker-clocks" not in found
    assert found["runs-without-message"]["level"] == found["runs-without-claim"]["level"] == "ok"


def test_runs_that_nobody_takes(sound: Project) -> None:
    sound.submit("hello")
    found = checks(sound.cli("doctor", "--json").check(1))
    assert found["workers"]["level"] == "problem"
    assert found["queues"]["remedy"] == "start one that does: runner worker -Q default"
    result = sound.cli("doctor").check(1)
    assert f"hint: workers: start one: runner --project {sound.path} worker" in result.stderr
    # By urgency, also in a pipe.
    levels = [line.split()[0] for line in result.stdout.splitlines()[1:]]
    assert levels == sorted(levels, key=["problem", "warning", "ok"].index)


def test_what_is_broken_is_mended_once(sound: Project) -> None:
    with sound.worker():
        pass  # the worker leaves; the queue stays known
    run_id = sound.submit("hello", "--in", "1h")
    client = sound.redis()
    client.zrem(f"{sound.namespace}:delayed", run_id)
    client.hdel(f"{sound.namespace}:run:{run_id}", "message")
    client.lpush(f"{sound.namespace}:dead-letters", json.dumps({"queue": "default"}) + "\nbroken")
    client.close()
    found = checks(sound.cli("doctor", "--json").check(1))
    assert found["runs-without-message"]["examples"] == [run_id]
    assert found["runs-without-message"]["repairable"]
    assert found["dead-letters"]["count"] == 1
    repaired = sound.cli("doctor", "--repair", "--json")
    assert {mended["name"] for mended in repaired.json["mended"]} >= {"runs-without-message", "dead-letters"}
    after = checks(repaired)
    assert after["runs-without-message"]["level"] == after["dead-letters"]["level"] == "ok"
    [letters] = (sound.path / ".runner").glob("dead-letters-*.jsonl")
    assert "broken" in letters.read_text()
    again = sound.cli("doctor", "--repair", "--json").json
    assert again["mended"] == []


def test_exit_code_0_if_all_was_mended(sound: Project) -> None:
    client = sound.redis()
    client.zadd(f"{sound.namespace}:ids", {"no-such-run": 0})
    client.close()
    sound.cli("doctor").check(1)
    result = sound.cli("doctor", "--repair").check(0)
    assert "repaired: strays: 1 entry" in result.stderr
    sound.cli("doctor").check(0)


def test_a_server_that_is_away_is_a_finding(make_project: Callable[..., Project]) -> None:
    project = make_project(HELLO, FILES, {"redis_url": f"redis://:secret@127.0.0.1:{free_port()}/0"})
    result = project.cli("doctor", "--json").check(1)
    found = checks(result)
    assert found["server"]["level"] == "problem"
    assert "secret" not in result.stdout
    assert found["jobs"]["level"] == "ok"


def test_problems_in_files_of_jobs(make_project: Callable[..., Project]) -> None:
    project = make_project("jobs:\n  bad: {task: 1}\n")
    found = checks(project.cli("doctor", "--json").check(1))
    assert found["jobs"]["level"] == "problem"
    assert "jobs.bad.task" in found["jobs"]["what"]
    assert found["settings"]["level"] == "ok"


def test_unsafe_jobs(make_project: Callable[..., Project]) -> None:
    script = "task: 'runner.tasks.shell:run', params: {x: {}}, kwargs: {script: 'echo ${params.x}'}"
    project = make_project(f"jobs:\n  open: {{{script}, unsafe: true}}\n  closed: {{task: 'os:getpid'}}\n")
    found = checks(project.cli("doctor", "--json").check(1))
    assert (found["unsafe"]["level"], found["jobs"]["level"]) == ("warning", "ok")
    assert "1 job with unsafe: true" in found["unsafe"]["what"]
    assert found["unsafe"]["what"].endswith(": open")
    plan = project.cli("plan").check(1)
    assert "unsafe: open: " in plan.stdout
    assert project.cli("plan", "--json").check(1).json["unsafe"] == ["open"]
    assert "warning: jobs.open.unsafe: whoever may submit" in project.cli("validate").check(0).stdout


def test_runs_left_on_the_embedded_server(sound: Project, make_embedded_project: Callable[..., Project]) -> None:
    before = make_embedded_project(JOBS, FILES)
    before.submit("hello")
    before.cli("down").check(0)
    found = checks(before.cli("doctor", "--json", env={"RUNNER_REDIS_URL": sound.redis_url}).check(1))
    assert found["former-server"]["level"] == "warning"
    assert "former-server" not in checks(sound.cli("doctor", "--json"))


def test_a_starting_worker_warns_of_settings_that_lose_data(make_project: Callable[..., Project]) -> None:
    project = make_project(HELLO, FILES)
    client = project.redis()
    before = text(client.config_get("appendfsync")["appendfsync"])
    client.config_set("appendfsync", "no")
    try:
        with project.worker() as worker:
            worker.wait_for("durability: appendfsync no")
    finally:
        client.config_set("appendfsync", before)
        client.close()


def test_schedules_that_nobody_looks_at(make_project: Callable[..., Project]) -> None:
    project = make_project('jobs:\n  hello: {task: "clijobs:hello", schedule: {every: 1m}}\n', FILES)
    found = checks(project.cli("doctor", "--json").check(1))["schedules"]
    remedy = "runner cron install, or runner up --systemd, or runner scheduler"
    assert (found["level"], found["remedy"]) == ("warning", remedy)
    assert found["what"].endswith("yet: hello")
    project.cli("tick").check(0)
    # There is no worker either, which is reported separately.
    assert checks(project.cli("doctor", "--json").check(1))["schedules"]["level"] == "ok"
    # As if the last tick had been hours ago.
    client, key = project.redis(), f"{project.namespace}:schedules"
    digest, _, touched = text(client.hget(key, "hello")).split()
    client.hset(key, "hello", f"{digest} {int(touched) - 3 * 3_600_000} {touched}")
    client.close()
    assert "hello was due" in checks(project.cli("doctor", "--json").check(1))["schedules"]["what"]


def test_replicated_without_a_replica(make_project: Callable[..., Project]) -> None:
    project = make_project(HELLO, FILES, {"durability": "replicated"})
    found = checks(project.cli("doctor", "--json").check(1))["replication"]
    assert found["level"] == "problem"
    assert "no replica is connected" in found["what"]


def test_messages_of_celery_clients_that_nobody_takes(
    make_project: Callable[..., Project], redis_server: Server
) -> None:
    # A database of its own: the workers of all projects take from this list.
    url = redis_server.database(8)
    project = make_project(HELLO, FILES, {"redis_url": url})
    client = redis.Redis.from_url(url)
    client.rpush("celery\x06\x166", "left by a client")
    found = checks(project.cli("doctor", "--json").check(1))["queues"]
    assert found["what"].endswith("plain Celery clients wait")
    client.delete("celery\x06\x166")
    # As a client with ten priority_steps sends it.
    client.rpush("celery\x06\x167", "left by a client")
    found = checks(project.cli("doctor", "--json").check(1))["plain-queues"]
    assert found["what"].startswith("1 message of plain Celery clients with priority_steps of their own")
    client.delete("celery\x06\x167")
    client.close()


def test_schedules_without_a_worker_and_queues_that_no_worker_serves(make_project: Callable[..., Project]) -> None:
    jobs = {
        "plain": {"task": "clijobs:hello"},
        "hourly": {"task": "clijobs:hello", "schedule": "@hourly"},
        "far": {"task": "clijobs:hello", "queue": "far"},
        "idle": {"task": "clijobs:hello", "queue": "nowhere", "enabled": False},
    }
    project = make_project(jobs, FILES)
    project.cli("tick").check()
    found = checks(project.cli("doctor", "--json").check(1))["served"]
    assert found["what"] == "no worker is alive, so that nothing performs 1 job with a schedule: hourly"
    quiet = {"RUNNER_SCHEDULES": "false"}
    assert "served" not in checks(project.cli("doctor", "--json", env=quiet).check(0))
    with project.worker():
        found = checks(project.cli("doctor", "--json").check(1))["served"]
        assert (found["level"], found["what"]) == ("warning", "no worker takes from queue far of 1 job: far")
        assert found["remedy"] == "start one that does: runner worker -Q far"
        with project.worker("-Q", "far"):
            assert checks(project.cli("doctor", "--json").check(0))["served"]["level"] == "ok"
