"""Holds what a system says of its runs against what the witness saw, and prints the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.fault.system import EXPECTED, System
from tests.fault.witness import Deaths, Start, Testimony

FINAL = ("SUCCESS", "FAILURE", "REVOKED")

DEATHS_TO_POISON = 3


@dataclass(frozen=True)
class Row:
    """What became of the runs of one attack."""

    promise: str
    attack: str
    runs: int
    kills: int
    lost: tuple[str, ...] = ()
    """Accepted, without an outcome, and with no message anywhere."""
    stuck: tuple[str, ...] = ()
    """Without an outcome when the time was over, though a message is there."""
    explained: int = 0
    """Starts beyond one after a death or a freeze of who held the run."""
    unexplained: tuple[str, ...] = ()
    """Starts beyond one without."""
    wrong: tuple[str, ...] = ()
    """An outcome that is not what the run did."""
    notes: tuple[str, ...] = field(default=())
    """What else broke a promise."""
    facts: tuple[str, ...] = ()
    """What was measured."""
    seconds: float = 0.0
    rollback: bool = False
    """Whether the attack took writes back that were acknowledged: then lost and repeated runs are counted alone."""
    confirmed: bool = False
    """Whether, with that, what was confirmed must be there all the same."""

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        if self.rollback:
            return not (self.stuck or self.wrong or self.notes or (self.confirmed and self.lost))
        return not (self.lost or self.stuck or self.unexplained or self.wrong or self.notes)


class Judge(Protocol):
    """Tells what became of the runs of an attack that is over."""

    def __call__(
        self,
        system: System,
        promise: str,
        attack: str,
        seconds: float,
        notes: Sequence[str] = (),
        *,
        rollback: bool = False,
        confirmed: bool = False,
    ) -> Row:
        """Return the row of the attack."""


def judge(
    system: System,
    promise: str,
    attack: str,
    seconds: float,
    notes: Sequence[str] = (),
    *,
    rollback: bool = False,
    confirmed: bool = False,
) -> Row:
    """Return the row of an attack that is over, whose runs had their time."""
    report, testimony = system.report(), Testimony.read(system.witness)
    explained, unexplained = testimony.duplicates(system.deaths)
    lost: list[str] = []
    stuck: list[str] = []
    wrong: list[str] = []
    for run_id, order in system.accepted.items():
        state = report.states.get(run_id)
        starts = testimony.starts.get(run_id, [])
        if state not in FINAL:
            # What a rollback forgot altogether is lost; whatever is known must come to its end.
            (stuck if run_id in report.messages or (rollback and state) else lost).append(f"{run_id} {state}")
        elif run_id in report.poisoned:
            if sum(system.deaths.explain(start) for start in starts) < DEATHS_TO_POISON:
                wrong.append(f"{run_id} poisoned after {len(starts)} starts")
        elif order.job == "once" and not rollback and _begun_again(starts):
            wrong.append(f"{run_id} may start once, but has {len(starts)} starts")
        elif order.job == "once" and run_id in report.worker_lost:
            if not _broken_off(starts, system.deaths):
                wrong.append(f"{run_id} {state}, worker_lost, but nothing ended its process")
        elif state != EXPECTED[order.kind]:
            wrong.append(f"{run_id} {state}, expected {EXPECTED[order.kind]}")
        elif not any(start.event in ("end", "wrong") for start in starts):
            wrong.append(f"{run_id} {state}, but no attempt came to its end")
    more = list(notes)
    overlaps = testimony.overlaps(system.deaths)
    if overlaps and not rollback:
        more.append(f"{len(overlaps)} ran beside themselves")
    # A process may die between the guard and the first line of its job, so with deaths this does not prove anything.
    if report.losses and not system.deaths:
        more.append(
            f"{len(report.losses)} charged with a loss though nothing died, such as {next(iter(report.losses))}"
        )
    restarts = testimony.restarts(system.deaths)
    if restarts:
        system.facts.append(f"death to restart {max(restarts):.1f} s at most")
    unknown = set(testimony.starts) - set(system.accepted) - {"canary"}
    if unknown and not system.strangers:
        more.append(f"{len(unknown)} ran that nobody knew of")
    if report.leftovers and not (lost or stuck):
        more.append(f"{report.leftovers} claims or messages left over")
    return Row(
        promise=promise,
        attack=attack,
        runs=len(system.accepted),
        kills=system.deaths.killed,
        lost=tuple(lost),
        stuck=tuple(stuck),
        explained=explained,
        unexplained=testimony.history(unexplained),
        wrong=tuple(wrong),
        notes=tuple(more),
        facts=tuple(system.facts),
        seconds=seconds,
        rollback=rollback,
        confirmed=confirmed,
    )


def _begun_again(starts: Sequence[Start]) -> bool:
    """Whether there is a start that is neither the first nor a retry."""
    return len(starts) > 1 + sum(start.event == "again" for start in starts)


def _broken_off(starts: Sequence[Start], deaths: Deaths) -> bool:
    """Whether a death ended an attempt, or may have ended one before the first line of its job."""
    if any(deaths.explain(start) for start in starts):
        return True
    return bool(deaths) and all(start.event == "again" for start in starts)


HEADINGS = (
    "promise",
    "attack",
    "runs",
    "kills",
    "lost",
    "stuck",
    "dup+",
    "dup?",
    "wrong",
    "s",
    "",
)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown, and below it what each row has to tell.

    ``dup+`` counts starts beyond one after the death or the freeze of who held the run, ``dup?`` those without.
    """
    cells = [
        (
            row.promise,
            row.attack,
            str(row.runs),
            str(row.kills),
            str(len(row.lost)),
            str(len(row.stuck)),
            str(row.explained),
            str(len(row.unexplained)),
            str(len(row.wrong)),
            f"{row.seconds:.0f}",
            _verdict(row),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (HEADINGS, *cells)) for column in range(len(HEADINGS))]
    numbers = range(2, 10)
    lines = []
    for line in (HEADINGS, *cells):
        aligned = (
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        lines.append(f"| {' | '.join(aligned)} |")
    rule = (f"{'-' * (width + 1)}{':' if column in numbers else '-'}" for column, width in enumerate(widths))
    lines.insert(1, f"|{'|'.join(rule)}|")
    notes = [f"{row.attack}: {'; '.join((*row.notes, *row.facts))}" for row in rows if row.notes or row.facts]
    lines += ["", *notes] if notes else []
    return "\n".join(lines)


def _verdict(row: Row) -> str:
    return "BROKEN" if not row.kept else "counted" if row.rollback else "ok"


def details(row: Row, most: int = 5) -> str:
    """Return the runs that broke a promise, a few of each kind."""
    found = [f"  {note}" for note in row.notes]
    for name in ("lost", "stuck", "unexplained", "wrong"):
        ids: tuple[str, ...] = getattr(row, name)
        found += [f"  {name}: {run_id}" for run_id in ids[:most]]
        if len(ids) > most:
            found.append(f"  {name}: and {len(ids) - most} more")
    return "\n".join(found)
