"""The Dockerfile, the Compose file, and the units of systemd, checked by hadolint, compose-spec, and systemd."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY
from tests.deploy.tools import done, tool

COMPOSE = DEPLOY / "compose" / "compose.yaml"


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    """Check a file against the schema of compose-spec."""
    program = Path(sys.executable).with_name("check-jsonschema")
    words = [str(program), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_the_dockerfile() -> None:
    done(tool("hadolint", "--failure-threshold", "style", DEPLOY / "docker" / "Dockerfile"))


def test_the_compose_file(tmp_path: Path) -> None:
    done(check_compose(COMPOSE))
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text("utf-8").replace("stop_grace_period:", "stop_grace:"), "utf-8")
    assert "stop_grace" in check_compose(wrong).stdout


@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_a_unit_with_its_drop_in(role: str, tmp_path: Path, needed: Callable[[str], str]) -> None:
    [unit] = (DEPLOY / "systemd").glob(f"*-{role}.service")
    text = unit.read_text("utf-8")
    # The program need not be there.
    (tmp_path / unit.name).write_text(text.replace("/srv/reports/.venv/bin/runner", "/bin/true", 1), "utf-8")
    drop_ins = tmp_path / f"{unit.name}.d"
    drop_ins.mkdir()
    shutil.copy(DEPLOY / "systemd" / "hardening.conf", drop_ins)
    words = [needed("systemd-analyze"), "verify", "--man=no", str(tmp_path / unit.name)]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert [line for line in result.stderr.splitlines() if str(tmp_path) in line] == []
