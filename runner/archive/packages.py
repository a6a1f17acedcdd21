"""Check which packages the archive needs, without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from runner._version import DISTRIBUTION
from runner.errors import UsageError
from runner.settings.archive_url import sqlite_file


def require_packages(url: str) -> None:
    """Check that the packages for ``archive_url`` are installed.

    Raises:
        UsageError: one is missing.
    """
    needed = ("sqlalchemy",) if sqlite_file(url) is not None else ("sqlalchemy", "psycopg")
    for name in needed:
        if find_spec(name) is None:
            raise lacking(f"{name} is missing")


def lacking(what: str) -> UsageError:
    """Return the error for missing packages, with the command that installs them."""
    return UsageError(f"archive_url needs more packages ({what})", hint=f'pip install "{DISTRIBUTION}[archive]"')
