"""Read and check ``archive_url``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.model.option import did_you_mean
from runner.settings.redis_url import BadUrl, look_up

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_SAME = {"sqlite3": SQLITE, "postgres": POSTGRESQL, "postgresql+psycopg": POSTGRESQL, "sqlite+pysqlite": SQLITE}
"""The schemes of other programs for the same databases."""
_FORMS = "sqlite:///FILE, postgresql://HOST/DATABASE, env:NAME, or file:PATH"


def look_up_archive(value: str, project: Path, environ: Mapping[str, str]) -> str:
    """Return the canonical URL of ``value``, which may be ``env:NAME`` or ``file:PATH``.

    Raises:
        BadUrl: there is no valid URL; the message completes a sentence that begins with the option's name.
    """
    return look_up(value, project, environ, of="database", read=partial(canonical_archive, project=project))


def canonical_archive(url: str, project: Path) -> str:
    """Return ``url`` as ``sqlite:////ABSOLUTE/PATH`` or ``postgresql://…``.

    Args:
        url: the URL of the database.
        project: the folder to which the path of a SQLite file is relative.

    Raises:
        BadUrl: it is neither, or it is incomplete.
    """
    scheme, colon, rest = url.partition("://")
    scheme = _SAME.get(scheme.lower(), scheme.lower())
    if not colon:
        # Not shown: it may be a password that came from a file or a variable.
        raise BadUrl(f"is not a URL, write {_FORMS}" if url else f"is empty, write {_FORMS}")
    if any(char.isspace() for char in url):
        raise BadUrl("has a space, write %20 instead")
    if scheme == SQLITE:
        return _sqlite(rest, project)
    if scheme != POSTGRESQL:
        guess = did_you_mean(scheme, [SQLITE, POSTGRESQL])
        raise BadUrl(f"{scheme[:20]}:// is not supported{guess or ', write ' + _FORMS}")
    return _postgresql(f"{POSTGRESQL}://{rest}")


def sqlite_file(url: str) -> Path | None:
    """Return the file of a canonical SQLite URL; None for another database."""
    scheme, _, rest = url.partition("://")
    return Path(unquote(rest[1:])) if scheme == SQLITE else None


def _sqlite(rest: str, project: Path) -> str:
    if "?" in rest or "#" in rest:
        raise BadUrl("has options, which are not supported for SQLite; write sqlite:///FILE")
    if not rest.startswith("/") or len(rest) == 1 or rest.endswith("/"):
        raise BadUrl("names no file, write sqlite:///runner.db, or sqlite:////var/lib/runner.db (four slashes)")
    if unquote(rest[1:]).startswith((":memory:", "file:")):
        raise BadUrl("is not kept in a file, write sqlite:///runner.db")
    # As in SQLAlchemy, three slashes begin a relative path, and four an absolute one.
    path = os.path.normpath(project / unquote(rest[1:]))
    return f"{SQLITE}:///{path.replace('%', '%25')}"


def _postgresql(url: str) -> str:
    if "#" in url:
        raise BadUrl("has a #, write %23 instead (in a password, also %2F for / and %40 for @)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl("has no valid host and port; in a password, write %2F for /, %23 for #, and %40 for @") from None
    if port == 0:
        raise BadUrl("has port 0, write the port of PostgreSQL, such as 5432")
    if not parts.hostname and not re.search(r"[?&](host|service)=", url):
        raise BadUrl("has no host, write postgresql://HOST/DATABASE, or postgresql:///DATABASE?host=/run/postgresql")
    if not parts.path.strip("/") and not re.search(r"[?&](dbname|service)=", url):
        raise BadUrl("names no database, write postgresql://HOST/DATABASE")
    return url
