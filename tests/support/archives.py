"""Archives for tests: a separate SQLite or PostgreSQL database for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.archive.store import Archive
from tests.support.postgres import USER, Postgres

NAMESPACE = "shop"


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """Yield the URL of a new PostgreSQL database."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    postgres_server.ask(f"CREATE DATABASE {name}")
    yield f"postgresql://{USER}@127.0.0.1:{postgres_server.port}/{name}"
    postgres_server.ask(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def archive_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables."""
    return f"sqlite:///{tmp_path}/archive.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def archive(archive_url: str) -> Iterator[Archive]:
    """Yield an archive with its tables."""
    opened = Archive.open(archive_url)
    opened.prepare()
    yield opened
    opened.close()
