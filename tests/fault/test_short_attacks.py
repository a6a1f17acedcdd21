"""The fault suite in its short form: fewer runs, fewer kills, the same judgment. ``make fault`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fault.attacks import ATTACKS, Size
from tests.fault.battle import fight
from tests.fault.verdict import details, table

# The longest first, and the next ones at the end, where idle test workers take over from.
SHORT = {
    "pause": Size(runs=20, kills=0, seconds=1.0, workers=2),
    "kill": Size(runs=250, kills=5, seconds=4.0, workers=2),
    "takers": Size(runs=250, kills=12, seconds=6.0, workers=2),
    "flows": Size(runs=25, kills=8, seconds=8.0, workers=2),
    "rabbit": Size(runs=100, kills=8, seconds=8.0, workers=2),
    "redis-kill": Size(runs=100, kills=2, seconds=3.0, workers=2),
    "black-hole": Size(runs=60, kills=2, seconds=2.0, workers=2),
    "cut-live": Size(runs=120, kills=30, seconds=6.0, workers=2),
    "cut-kill": Size(runs=60, kills=3, seconds=3.0, workers=2),
    "rolling": Size(runs=80, kills=2, seconds=3.0, workers=2),
    "memory": Size(runs=60, kills=1, seconds=1.0, workers=1),
    "boundaries": Size(runs=20, kills=3, seconds=1.0, workers=1),
    "forge": Size(runs=50, kills=0, seconds=1.0, workers=1),
    "delayed": Size(runs=10_000, kills=0, seconds=1.0, workers=1),
    "fence": Size(runs=20, kills=0, seconds=1.0, workers=1),
}


@pytest.mark.parametrize("name", SHORT)
def test_promises_hold_under_attack(name: str, tmp_path: Path) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == name)
    row = fight(attack, SHORT[name], lease=2.0, keep=tmp_path)
    assert row.kept, f"\n{table([row])}\n{details(row)}\nlogs: {tmp_path}"
