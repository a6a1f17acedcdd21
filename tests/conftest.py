"""Fixtures. The server under test is chosen by ``RUNNER_TEST_SERVER``: embedded (default), redis-tcp, redis-unix;
the broker by ``RUNNER_TEST_BROKER``: redis (default), rabbitmq.

Each process that tests has a server of its own, each test a project and a namespace of its own, so that tests
run in any order and beside one another. A test run that leaves a process behind fails.
"""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import zygote
from tests.support.forks import Forks
from tests.support.language_server import NO_EDITOR
from tests.support.need import need
from tests.support.postgres import Postgres, postgres
from tests.support.processes import MARKER, wait_for_none
from tests.support.project import Project, write_project
from tests.support.rabbit import (
    RabbitMQ,
    VirtualHost,
    chosen_broker,
    end_shared_node,
    shared_node,
    virtual_host,
)
from tests.support.servers import Server, chosen_kind, serving

_RUN = "RUNNER_TEST_RUN"
_GRACE = 15.0
"""Seconds that what tests started may take to end after the last test."""


# No test asserts a time: not how long an example takes either, nor how long it takes to make one.
settings.register_profile("runner", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("runner")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--forks``, which needs less of the processor than xdist's ``-n``."""
    parser.addoption("--forks", type=int, default=1, help="how many processes test; forked once tests are collected")


def pytest_configure(config: pytest.Config) -> None:
    """Mark what this test run starts, and let it be interrupted: `sh -c 'make test &'` has Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen_kind()
    chosen_broker()
    is_worker = hasattr(config, "workerinput")
    if not is_worker:
        os.environ[_RUN] = uuid.uuid4().hex
    if is_worker or config.getoption("dist", "no") == "no":
        if (count := config.option.forks) > 1:
            marked = {MARKER: os.environ[_RUN]}
            config.pluginmanager.register(Forks(config, count, marked, lambda folder: zygote.share(folder, marked)))
            return
        # Not in the process that starts the workers of xdist: they were not started by a test.
        os.environ[MARKER] = os.environ[_RUN]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a right that no installation gives.

    CI takes a skipped test for one that was forgotten.
    """
    if not may_make_cgroups():
        left_out = [item for item in items if item.get_closest_marker("cgroups")]
        items[:] = [item for item in items if not item.get_closest_marker("cgroups")]
        config.hook.pytest_deselected(items=left_out)


def may_make_cgroups() -> bool:
    """Return whether this is root on a host with cgroups of version 2 whose root has the controller ``memory``."""
    try:
        controllers = Path("/sys/fs/cgroup/cgroup.subtree_control").read_text(encoding="ascii").split()
    except OSError:
        return False
    return os.geteuid() == 0 and "memory" in controllers


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a process that a test started is still there; in CI also if a test was skipped."""
    zygote.stop()
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    end_shared_node()
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped = [] if reporter is None else reporter.stats.get("skipped", [])
    if (
        reporter is not None
        and os.environ.get("CI")
        and any(NO_EDITOR not in str(report.longrepr) for report in skipped)
    ):
        reporter.write_line("")
        reporter.write_line("error: tests were skipped, which CI must not", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    factory = getattr(config, "_tmp_path_factory", None)
    folder = factory.getbasetemp() if factory is not None else None
    left = wait_for_none(os.environ[_RUN], folder, _GRACE)
    if left:
        if reporter is not None:
            reporter.write_line("")
            reporter.write_line("error: tests left processes behind:", red=True)
            for process in left:
                reporter.write_line(f"  {process}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server under test; one for each process that tests."""
    kind = chosen_kind()
    with serving(kind, tmp_path_factory.mktemp("srv")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbit_node() -> RabbitMQ:
    """A RabbitMQ node that all tests share. A test that stops or blocks one runs a node of its own: ``rabbit``."""
    return shared_node()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of this test run, started by the first test that asks; one for each worker of xdist."""
    with postgres() as server:
        yield server


@pytest.fixture
def rabbit_host(rabbit_node: RabbitMQ) -> Iterator[VirtualHost]:
    """A virtual host of the test's own; its ``url`` is a ``broker_url``."""
    with virtual_host(rabbit_node) as host:
        yield host


@pytest.fixture
def broker_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What ``runner.yaml`` says of the broker under test: nothing where that is Redis."""
    if chosen_broker() == "redis":
        return {}
    host: VirtualHost = request.getfixturevalue("rabbit_host")
    return {"broker_url": host.url}


@pytest.fixture
def make_project(tmp_path: Path, redis_server: Server, broker_settings: dict[str, Any]) -> Callable[..., Project]:
    """Make a project on the server under test: ``make_project(jobs, files=None, settings=None, name="p")``."""

    def make(
        jobs: str | dict[str, Any] = "",
        files: dict[str, str] | None = None,
        settings: dict[str, Any] | None = None,
        name: str = "p",
        namespace: str | None = None,
    ) -> Project:
        everything = {**broker_settings, **(settings or {})}
        return write_project(tmp_path / name, redis_server.url, jobs, files, everything, namespace)

    return make


@pytest.fixture
def make_embedded_project(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """As ``make_project``, with ``redis_url: embedded`` and so a server of its own, stopped at the end."""
    made: list[Project] = []

    def make(
        jobs: str | dict[str, Any] = "",
        files: dict[str, str] | None = None,
        settings: dict[str, Any] | None = None,
        name: str = "e",
    ) -> Project:
        project = write_project(tmp_path / name, "embedded", jobs, files, settings, "runner")
        made.append(project)
        return project

    yield make
    from runner.embedded import stop

    for project in made:
        stop(project.settings)


@pytest.fixture
def needed() -> Callable[[str], str]:
    """``need``: the path of a program; skips on a laptop that lacks it, fails in CI."""
    return need
