"""The doctor warns before runs are lost that are not in the archive."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.actions.archive import ArchiveStatus
from runner.actions.doctor_archive import judge
from runner.ledger.unarchived import Backlog

NOW = 1_700_000_000.0
DAY = 86400.0
NONE = Backlog(0, 10, NOW, identity="x", copier="w1")
SOUND = ArchiveStatus("postgresql://h/d", 1, 1, 10, None, NONE, other=False)


def waiting(ago: float, *, result: float = DAY, run: float = 30 * DAY, copier: str | None = "w1") -> ArchiveStatus:
    ended = NOW - ago
    backlog = replace(NONE, runs=3, ended=ended, loses_result=ended + result, loses_run=ended + run, copier=copier)
    return replace(SOUND, backlog=backlog)


@pytest.mark.parametrize(
    ("status", "level", "says"),
    [
        (SOUND, "ok", "postgresql://h/d answers, 10 runs copied, 0 runs to copy"),
        (waiting(5), "ok", "3 runs to copy"),
        (waiting(5, result=1), "ok", "3 runs to copy"),
        (waiting(120), "warning", "3 finished runs not in the archive, the first one since 2m: w1 copies"),
        (waiting(120, copier=None), "warning", "nobody copies"),
        (waiting(0.6 * DAY), "problem", "the result of the first one is lost in 9h36m"),
        (waiting(2 * DAY), "problem", "the result of the first one is lost: its retention has ended"),
        (waiting(20 * DAY, result=100 * DAY), "problem", "the record of the first one is lost in 10d"),
        (replace(SOUND, version=2), "problem", "has version 2 of the archive's schema, and this runner knows 1"),
        (replace(SOUND, other_ledger=True), "problem", "has the runs of this namespace from another Redis"),
        (replace(SOUND, other=True), "problem", "are copied to another database than postgresql://h/d"),
    ],
)
def test_a_finding(status: ArchiveStatus, level: str, says: str) -> None:
    found = judge(status)
    assert str(found.level) == level
    assert says in found.what
    assert bool(found.remedy) == (level != "ok")
