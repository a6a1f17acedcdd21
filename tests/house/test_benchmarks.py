"""``make bench`` runs through: each measurement prints its figures. What the figures are is not for a test to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.all import MORE, NAMES

PROJECT = Path(__file__).parents[2]


def measure(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=540)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*NAMES, *MORE])
def test_each_measurement_prints_figures(name: str) -> None:
    done = measure("--quick", name)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stderr.splitlines() if line.startswith("measuring ")] == [name]
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line[:1] == "|"
    ]
    assert head[:2] == ["figure", "runner"]
    assert rows
    for row in rows:
        assert float(row[1].replace(",", "")) >= 0, row


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    done = measure("nothing")
    assert done.returncode == 2
    assert "no measurement nothing; there are drain, latency" in done.stderr
