"""The folder of a project that ``init`` makes, for ``init``, ``up``, and ``down``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import Result, runner_cli


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a project that init makes; whatever is up in it is taken down."""
    yield tmp_path / "demo"
    if (tmp_path / "demo" / "runner.yaml").exists():
        runner_cli("down", cwd=tmp_path / "demo").check()


def cli(folder: Path, *words: str, code: int = 0) -> Result:
    return runner_cli(*words, cwd=folder).check(code)
