"""``python -m tests.fault``: attacks real workers on a real redis-server, and prints what became of the runs.

Exit code 0 if every promise was kept, 1 if not. With ``--system celery`` the same for stock Celery, for
comparison; it ends with 0 whatever happened.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fault.attacks import ATTACKS, Attack, Size
from tests.fault.battle import fight
from tests.fault.verdict import Row, details, table


def size_of(attack: Attack, runs: int, kills: int, seconds: float) -> Size:
    """Return the size of one attack, as its share of everything."""
    return Size(
        runs=max(20, round(runs * attack.share)),
        kills=max(attack.least_kills, round(kills * attack.kills)),
        seconds=max(2.0, seconds * (attack.pace or max(attack.kills, 0.1))),
    )


def main() -> int:
    """Run the attacks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.fault", description=__doc__)
    parser.add_argument(
        "attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(attack.name for attack in ATTACKS)}"
    )
    parser.add_argument("--runs", type=int, default=20_000, help="of the attack `kill` (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=100, help="of the attack `kill` (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=180.0, help="of the attack `kill` (default: %(default)s)")
    parser.add_argument("--lease", type=float, default=3.0, help="seconds (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the choices made (default: %(default)s)")
    parser.add_argument("--system", choices=["runner", "celery"], default="runner")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of attacks that broke a promise")
    given = parser.parse_args()
    if unknown := set(given.attacks) - {attack.name for attack in ATTACKS}:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for attack in ATTACKS:
        if given.attacks and attack.name not in given.attacks:
            continue
        if attack.runner_only and given.system != "runner":
            continue
        size = size_of(attack, given.runs, given.kills, given.seconds)
        print(f"{attack.name}: {attack.words}, {size.runs} runs", file=sys.stderr, flush=True)
        row = fight(attack, size, system=given.system, lease=given.lease, seed=given.seed, keep=given.keep)
        rows.append(row)
        if not row.kept:
            print(details(row), file=sys.stderr, flush=True)
    print(f"{given.system}, lease {given.lease:g} s, seed {given.seed}")
    print(table(rows))
    return 0 if given.system == "celery" or all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
