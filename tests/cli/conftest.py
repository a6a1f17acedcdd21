"""A project with a worker that the tests of the command line share; each test makes its own runs in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.cli.counting import counting
from tests.cli.fleet import fleet
from tests.cli.folder import folder
from tests.cli.jobs import FILES, JOBS
from tests.cli.scheduled import scheduled
from tests.support.crontab_host import host
from tests.support.project import Project, write_project
from tests.support.servers import Server

__all__ = ["counting", "fleet", "folder", "host", "project", "scheduled", "served"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Project:
    """The shared project, without a worker."""
    folder = tmp_path_factory.mktemp("cli")
    settings = {"timezone": "Europe/Berlin"}
    return write_project(folder / "p", redis_server.url, JOBS, FILES, settings, f"t{uuid.uuid4().hex[:10]}")


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Project]:
    """The shared project, with a worker that takes from queue ``default``."""
    with project.worker(concurrency=4):
        yield project
