"""``tick``, ``scheduler`` and ``upcoming`` as a person calls them; Redis away and back."""

from __future__ import annotations

import json
import re
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.fault.server import RedisServer
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.proxy import Proxy
from tests.support.servers import Server

JOBS = """\
jobs:
  second: {task: "time:time", schedule: {every: 1s}}
  night:
    task: time:time
    tags: [nightly]
    schedule: {cron: "30 2 * * *", timezone: Europe/Berlin, jitter: 10m}
  idle: {task: "time:time", enabled: false, schedule: "@daily"}
  by-hand: {task: "time:time"}
"""


@pytest.fixture
def project(tmp_path: Path, redis_server: Server) -> Project:
    return write_project(tmp_path / "p", redis_server.url, JOBS, settings={"timezone": "Europe/Berlin"})


def slots(project: Project, job: str) -> list[str]:
    runs = project.cli("runs", "--job", job, "--limit", "1000", "--json").check().json
    assert all(run["trigger"] == "schedule" for run in runs)
    return sorted(run["slot"] for run in runs)


def test_a_tick_is_silent_and_submits_what_is_due(project: Project) -> None:
    first = project.cli("tick").check()
    assert (first.stdout, first.stderr) == ("", "")

    def due() -> list[dict[str, str]]:
        return list(project.cli("tick", "--json").check().json["submitted"])

    [made] = wait_until(due)
    assert made["job"] == "second"
    run = project.document(made["id"])
    assert (run["slot"], run["trigger"], run["state"]) == (made["slot"], "schedule", "PENDING")
    assert project.document("@second")["job"] == "second"
    assert "slot" in project.cli("status", made["id"]).check().stdout


def test_a_project_that_says_schedules_false(project: Project) -> None:
    project.cli("tick").check()
    wait_until(lambda: any(each["missed"] for each in project.cli("upcoming", "--json").check().json))
    off = {"RUNNER_SCHEDULES": "false"}
    assert project.cli("tick", "--json", env=off).check().json == {"submitted": [], "next": None}
    assert "schedules: false" in project.cli("upcoming", env=off).check().stderr
    assert project.cli("tick", "--json").check().json["submitted"]


def test_upcoming(project: Project) -> None:
    found = project.cli("upcoming", "--job", "night", "--from", "2026-03-28", "--limit", "2", "--json").check().json
    # The clock of Berlin skips 02:30 on 29 March: the run comes right after.
    assert [each["slot"] for each in found] == ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z"]
    assert all(each["slot"] <= each["start"] < each["slot"][:14] + "59" for each in found)
    assert [each["missed"] for each in found] == [False, False]
    assert re.fullmatch(r"[0-9a-f-]{36}", found[0]["id"])
    day = project.cli("upcoming", "--from", "2026-11-24", "--to", "2026-11-24 00:00:02+01:00", "--json").check().json
    assert [each["job"] for each in day] == ["second", "second"]
    text = project.cli("upcoming", "-n", "3", "--utc").check().stdout.splitlines()
    assert text[0].split()[:2] == ["SLOT", "JOB"]
    assert len(text) == 4
    assert project.cli("upcoming", "--job", "by-hand").check().stderr == "no runs to come\n"
    assert project.cli("upcoming", "--job", "idle", "--json").check().json == []
    project.cli("upcoming", "--job", "nihgt").check(2)
    project.cli("upcoming", "--to", "2020-01-01").check(2)


def test_upcoming_from_one_time_of_day_to_another_while_it_lies_between(project: Project) -> None:
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    begin, end = (f"{(now.hour + hours) % 24:02}:30" for hours in (-2, 2))
    found = project.cli("upcoming", "--from", begin, "--to", end, "-n", "1", "--json").check().json
    first = datetime.fromisoformat(found[0]["slot"])
    assert f"{first.astimezone(now.tzinfo):%H:%M}" == begin
    assert timedelta(hours=20) < first - now < timedelta(hours=25)


def test_upcoming_shows_what_was_missed(project: Project) -> None:
    assert not any(each["missed"] for each in project.cli("upcoming", "--json").check().json)
    project.cli("tick").check()

    def missed() -> list[str]:
        found = project.cli("upcoming", "--json", "--job", "second").check().json
        return [each["id"] for each in found if each["missed"]]

    wait_until(missed)
    # It is what the next tick submits, or an earlier slot that a later one has replaced.
    assert len(missed()) == 1
    assert project.cli("tick", "--json").check().json["submitted"]


def test_simulate(project: Project, redis_server: Server) -> None:
    slow = '{task: "time:sleep", args: [0.3], schedule: {every: 1s}}'
    other = '{task: "a:b", schedule: "@daily"}'
    project.write({"jobs.d/jobs.yaml": f"jobs:\n  slow: {slow}\n  other: {other}\n"})
    with project.worker(concurrency=1):
        run_id = project.submit("slow", "--wait")
    ledger = project.ledger()
    # As if it had taken 2.5 s.
    key = f"{project.namespace}:run:{run_id}"
    started = float(ledger.client.hget(key, "finished_at")) - 2500  # type: ignore[arg-type]
    ledger.client.hset(key, "started_at", int(started))
    ledger.close()
    asked = ("--simulate", "--from", "2026-11-24T00:00:00.5Z", "--to", "2026-11-24T00:00:10Z")
    found = project.cli("upcoming", *asked, "--json").check().json
    assert found["total"]["runs"] == 10
    assert found["total"]["peak"] == 3
    assert found["queues"]["default"]["busy_seconds"] == 25.0
    assert len(found["overlaps"]) == 9
    assert found["overlaps"][0] == {
        "job": "slow",
        "slot": "2026-11-24T00:00:02.000Z",
        "busy_until": "2026-11-24T00:00:03.500Z",
    }
    text = project.cli("upcoming", *asked).check()
    assert "overlap: slow at" in text.stdout
    unknown = project.cli("upcoming", "--simulate", "--job", "other", "--json").check().json
    assert unknown["unknown_durations"] == ["other"]


def test_a_scheduler_runs_what_is_due_and_ends_on_sigterm(project: Project) -> None:
    with notified() as (address, told):
        with project.start("scheduler", env={"NOTIFY_SOCKET": address}) as one, project.start("scheduler") as two:
            one.wait_for("ready: 3 scheduled jobs")
            two.wait_for("ready")
            wait_until(lambda: len(slots(project, "second")) >= 3)
            # It notices new jobs, and goes on after a mistake.
            project.write({"jobs.d/more.yaml": "jobs:\n  added: {task: 'time:time', schedule: '* * * * * *'}\n"})
            wait_until(lambda: slots(project, "added"))
            project.write({"jobs.d/more.yaml": "jobs:\n  added: {task: 5}\n"})
            one.wait_for("problems that runner validate lists")
            two.wait_for("problems that runner validate lists")
            # The last good state of the file goes on.
            known = len(slots(project, "added"))
            wait_until(lambda: len(slots(project, "added")) >= known + 2)
            project.write({"runner.yaml": "redis_url: [\n"})
            one.wait_for("going on with what was read before")
            for each in (one, two):
                each.signal(signal.SIGTERM)
            assert (one.wait(), two.wait()) == (0, 0)
            assert "Traceback" not in one.stderr + two.stderr
        assert told() == ["READY=1", "STOPPING=1"]


@contextmanager
def notified() -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Listen as systemd does; yield the address, and what returns all that was told."""
    path = f"/tmp/runner-test-{uuid.uuid4().hex[:8]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.setblocking(False)

        def told() -> list[str]:
            found = []
            while True:
                try:
                    found.append(listener.recv(4096).decode())
                except BlockingIOError:
                    return found

        try:
            yield path, told
        finally:
            Path(path).unlink()


def test_the_log_for_machines(project: Project) -> None:
    with project.start("scheduler", "--log-format", "json") as scheduler:
        line = json.loads(scheduler.wait_for("ready").string)
        assert line["logger"] == "runner.scheduler"
        assert abs(line["at"] - time.time()) < 3600


def test_slots_of_two_schedulers_are_all_there_once(project: Project) -> None:
    with project.start("scheduler") as one, project.start("scheduler") as two:
        one.wait_for("ready")
        two.wait_for("ready")
        wait_until(lambda: len(slots(project, "second")) >= 4)
    found = slots(project, "second")
    assert len(found) == len(set(found))


def test_redis_away_and_back(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        project = write_project(tmp_path / "p", f"redis://127.0.0.1:{server.port}/0", JOBS)
        beyond = {"RUNNER_REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0"}
        with project.start("scheduler", env=beyond) as scheduler:
            scheduler.wait_for("ready")
            wait_until(lambda: slots(project, "second"))
            proxy.refuse()
            scheduler.wait_for("waiting for it")
            proxy.forward()
            scheduler.wait_for("Redis is back")
            known = len(slots(project, "second"))
            wait_until(lambda: len(slots(project, "second")) > known)
            scheduler.signal(signal.SIGINT)
            assert scheduler.wait() == 0
            assert "Traceback" not in scheduler.stderr


def test_a_scheduler_starts_before_redis_does(project: Project) -> None:
    with project.start("scheduler", env={"RUNNER_REDIS_URL": "redis://127.0.0.1:1/0"}) as scheduler:
        scheduler.wait_for("waiting for it")
        assert scheduler.terminate() == 0
