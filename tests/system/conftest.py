"""Fixtures of tests that run as several users."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user can look into; that of pytest is private."""
    folder = Path(tempfile.mkdtemp(prefix="runner-open-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
