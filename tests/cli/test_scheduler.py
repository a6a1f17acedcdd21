"""``runner scheduler`` as a person calls it; Redis away and back."""

from __future__ import annotations

import json
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.scheduled import JOBS, slots
from tests.fault.server import RedisServer
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.proxy import Proxy


def test_a_scheduler_runs_what_is_due_and_ends_on_sigterm(scheduled: Project) -> None:
    with notified() as (address, notifications):
        with scheduled.start("scheduler", env={"NOTIFY_SOCKET": address}) as one, scheduled.start("scheduler") as two:
            one.wait_for("ready: 3 scheduled jobs")
            two.wait_for("ready")
            wait_until(lambda: len(slots(scheduled, "second")) >= 3)
            # It notices new jobs, and goes on after a mistake.
            scheduled.write({"jobs.d/more.yaml": "jobs:\n  added: {task: 'time:time', schedule: '* * * * * *'}\n"})
            wait_until(lambda: slots(scheduled, "added"))
            scheduled.write({"jobs.d/more.yaml": "jobs:\n  added: {task: 5}\n"})
            one.wait_for("problems that runner validate lists")
            two.wait_for("problems that runner validate lists")
            # The last good state of the file goes on.
            known = len(slots(scheduled, "added"))
            wait_until(lambda: len(slots(scheduled, "added")) >= known + 2)
            scheduled.write({"runner.yaml": "redis_url: [\n"})
            one.wait_for("going on with what was read before")
            for scheduler in (one, two):
                scheduler.signal(signal.SIGTERM)
            assert (one.wait(), two.wait()) == (0, 0)
            assert "Traceback" not in one.stderr + two.stderr
        assert notifications() == ["READY=1", "STOPPING=1"]


@contextmanager
def notified() -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Listen as systemd does; yield the address, and a function that returns all notifications."""
    path = f"/tmp/runner-test-{uuid.uuid4().hex[:8]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.setblocking(False)

        def notifications() -> list[str]:
            found = []
            while True:
                try:
                    found.append(listener.recv(4096).decode())
                except BlockingIOError:
                    return found

        try:
            yield path, notifications
        finally:
            Path(path).unlink()


def test_the_log_for_machines(scheduled: Project) -> None:
    with scheduled.start("scheduler", "--log-format", "json") as scheduler:
        line = json.loads(scheduler.wait_for("ready").string)
        assert line["logger"] == "runner.scheduler"
        assert abs(line["at"] - time.time()) < 3600


def test_slots_of_two_schedulers_are_all_there_once(scheduled: Project) -> None:
    with scheduled.start("scheduler") as one, scheduled.start("scheduler") as two:
        one.wait_for("ready")
        two.wait_for("ready")
        wait_until(lambda: len(slots(scheduled, "second")) >= 4)
    found = slots(scheduled, "second")
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


def test_a_scheduler_starts_before_redis_does(scheduled: Project) -> None:
    with scheduled.start("scheduler", env={"RUNNER_REDIS_URL": "redis://127.0.0.1:1/0"}) as scheduler:
        scheduler.wait_for("waiting for it")
        assert scheduler.terminate() == 0
