"""Check for ``manage.py check`` whether the archive is in Django's own database, without connecting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS

from runner.django.home import home_project
from runner.errors import UsageError
from runner.settings.archive_url import sqlite_file

_HERE = ("", "localhost", "127.0.0.1", "::1")
_HINT = "write archive_url: env:DATABASE_URL into runner.yaml, and the URL of that database into DATABASE_URL"
_ENGINES = {"sqlite3": "sqlite", "postgresql": "postgresql", "postgis": "postgresql", "spatialite": "sqlite"}


@checks.register
def check_archive(app_configs: object = None, **kwargs: object) -> list[Any]:  # noqa: ARG001
    """Return a warning if the app's model does not see the runs that workers archive."""
    try:
        url = home_project().settings.archive_url
    except UsageError as error:
        hint = error.hint or "set TASKS['default']['OPTIONS']['project'], or RUNNER_PROJECT"
        return [checks.Warning(f"the app runner.django has no project: {error.message}", hint=hint, id="runner.W002")]
    if url is None:
        message = "runner.yaml has no archive_url, so no runs get into Django's database"
        return [checks.Warning(message, hint=_HINT, id="runner.W003")]
    database: Mapping[str, Any] = settings.DATABASES.get(DEFAULT_DB_ALIAS, {})
    kind = _ENGINES.get(str(database.get("ENGINE", "")).rpartition(".")[2])
    if kind is None:
        message = f"Django's default database is {database.get('ENGINE', 'missing')}, which no archive can be in"
        hint = "use PostgreSQL or SQLite, or remove runner.django from INSTALLED_APPS: the task backend works without"
        return [checks.Warning(message, hint=hint, id="runner.W004")]
    same = _same_file(url, database) if kind == "sqlite" else _same_server(url, database)
    if same is False:
        message = "archive_url of runner.yaml is not Django's default database, so the admin does not see archived runs"
        return [checks.Warning(message, hint=_HINT, id="runner.W005")]
    return []


def _same_file(url: str, database: Mapping[str, Any]) -> bool:
    file = sqlite_file(url)
    return file is not None and file.resolve() == Path(str(database.get("NAME", ""))).resolve()


def _same_server(url: str, database: Mapping[str, Any]) -> bool | None:
    """Return whether both are the same database on the same server; None if a service file determines it."""
    parts = urlsplit(url)
    if parts.scheme != "postgresql":
        return False
    asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    options = database.get("OPTIONS", {})
    if "service" in asked or "service" in options or not database.get("NAME"):
        return None
    host = asked.get("host") or unquote(parts.hostname or "")
    port = asked.get("port") or str(parts.port or 5432)
    name = asked.get("dbname") or unquote(parts.path.strip("/"))
    theirs = str(database.get("HOST") or ""), str(database.get("PORT") or 5432), str(database["NAME"])
    hosts = {"" if address in _HERE else address.lower() for address in (host, theirs[0])}
    # A socket folder means this host, too.
    local = all(address == "" or address.startswith("/") for address in hosts)
    return (len(hosts) == 1 or local) and (port, name) == theirs[1:]
