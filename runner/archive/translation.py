"""Translate SQLAlchemy's errors into errors with a remedy."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from runner.errors import ArchiveUnavailable

_HINTS = (
    # (part of the error's text, what it means to a person); the first that fits
    ("password authentication failed", "user or password is wrong: correct archive_url"),
    ("no password supplied", "the database wants a password: write it into archive_url, env:NAME or file:PATH"),
    ("no pg_hba.conf entry", "the server does not let this user in from this host: correct its pg_hba.conf"),
    ("does not exist", "create it, or correct archive_url"),
    ("permission denied", "grant the user of archive_url that right; see docs/how-to/archive.md"),
    ("must be owner", "grant the user of archive_url that right; see docs/how-to/archive.md"),
    ("read-only transaction", "that server is a standby, or takes no writes now: name the primary in archive_url"),
    ("readonly database", "this user may not write to that file, or to its folder"),
    ("No space left", "free space on the database's disk"),
    ("could not extend file", "free space on the database's disk"),
    ("disk is full", "free space on the database's disk"),
    ("disk I/O error", "is the disk full, or broken?"),
    ("unable to open database file", "does the folder exist, and may this user write to it?"),
    ("not a database", "another file has that name: correct archive_url"),
    ("database is locked", "another process writes to it for long; try again"),
    ("too many clients", "raise max_connections of the server, or use a pooler"),
    ("too many connections", "raise max_connections of the server, or use a pooler"),
    ("starting up", "the server starts, try again in a moment"),
    ("shutting down", "the server stops, try again when it runs"),
    ("statement timeout", "the server was too slow to answer: try again, or narrow what you ask for"),
    ("refused", "is PostgreSQL running there, and is the port right?"),
    ("timeout", "no answer in time: check host, port and firewall"),
    ("resolve host", "that host name is unknown: correct archive_url"),
    ("Name or service not known", "that host name is unknown: correct archive_url"),
    ("closed", "the server hung up: try again"),
    ("terminat", "the server hung up: try again"),
)
_LONGEST = 300


def translate(error: SQLAlchemyError, name: str) -> ArchiveUnavailable:
    """Return the error that a person gets: which database (without its password), what failed, what to do.

    Args:
        error: of SQLAlchemy.
        name: of the database.
    """
    # The driver's own words: SQLAlchemy's have the statement and the values, which may be private.
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = str(cause).strip()
    message = " ".join(text.partition("DETAIL:")[0].split())[:_LONGEST] or type(cause).__name__
    hint = next((hint for part, hint in _HINTS if part.lower() in text.lower()), "runner archive --status tells more")
    return ArchiveUnavailable(f"the archive {name} cannot be used: {message}", hint=hint)


def refused_rows(error: BaseException | None) -> bool:
    """Whether the database refused values, which it would refuse again, and not the whole of what was asked."""
    from sqlalchemy.exc import DataError, IntegrityError, StatementError  # start-up time: rare

    if isinstance(error, DBAPIError):
        return isinstance(error, DataError | IntegrityError)
    return isinstance(error, StatementError)
