"""Pages that are merged of two places have every run once, and in order, whatever each place has of them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from runner.model.run import Run, State, to_timestamp
from runner.model.run_page import Part, Position, longest, merge, position_of

BASE = 1_700_000_000_000


@dataclass(frozen=True)
class Known:
    """A run, where it is, and whether it has what is looked for."""

    run: Run
    in_ledger: bool
    in_archive: bool
    fits: bool


@st.composite
def known(draw: st.DrawFn) -> list[Known]:
    ids = draw(st.lists(st.integers(0, 999), unique=True, max_size=25))
    found = []
    for run_id in ids:
        at = BASE + draw(st.integers(0, 12))
        where = draw(st.sampled_from([(True, False), (False, True), (True, True)]))
        run = Run(id=f"{run_id:03d}", job="a", state=State.SUCCESS, submitted_at=to_timestamp(at))
        found.append(Known(run, *where, draw(st.booleans())))
    return found


def part(runs: list[Known], after: Position | None, *, newest: bool, limit: int, look: int) -> Part:
    """Return the answer of a source of runs, as ledger and archive do."""
    ordered = sorted(runs, key=lambda entry: placed(entry.run), reverse=newest)
    positions = [placed(entry.run) for entry in ordered]
    left = [
        entry
        for entry, position in zip(ordered, positions, strict=True)
        if after is None or (position < after if newest else position > after)
    ]
    found: list[Run] = []
    looked = 0
    for entry in left[:look]:
        looked += 1
        if entry.fits:
            found.append(entry.run)
        if len(found) == limit:
            break
    over = looked == len(left)
    return Part(found, None if over else placed(left[looked - 1].run), looked, not over and len(found) < limit)


def placed(run: Run) -> Position:
    position = position_of(run)
    assert position is not None
    return position


@given(known(), st.booleans(), st.integers(1, 7), st.integers(1, 9), st.integers(1, 9))
@example([], True, 1, 1, 1)
def test_every_run_comes_once_and_in_order(
    runs: list[Known], newest: bool, limit: int, look_ledger: int, look_archive: int
) -> None:
    ledger = [entry for entry in runs if entry.in_ledger]
    archive = [entry for entry in runs if entry.in_archive]
    wanted = sorted((placed(entry.run) for entry in runs if entry.fits), reverse=newest)
    found: list[Position] = []
    after: Position | None = None
    for _ in range(2 * len(runs) + 2):
        parts = [
            part(ledger, after, newest=newest, limit=limit, look=look_ledger),
            part(archive, after, newest=newest, limit=limit, look=look_archive),
        ]
        page = merge(parts, limit=limit, newest=newest)
        assert len(page.runs) <= limit
        assert not page.cut or len(page.runs) < limit
        found += [placed(run) for run in page.runs]
        after = page.end
        if after is None:
            break
    assert after is None
    assert found == wanted


def test_of_two_with_one_id_the_first_part_counts() -> None:
    at = to_timestamp(BASE)
    mine, theirs = (
        Run(id="a", job="a", state=State.SUCCESS, submitted_at=at, archived=archived) for archived in (False, True)
    )
    assert merge([Part([mine], None), Part([theirs], None)], limit=9, newest=True).runs == [mine]
    assert longest([Part([mine], None), Part([theirs], None)], limit=9).runs == [mine]


def test_a_run_without_a_time_stands_beside_its_neighbor() -> None:
    whole = Run(id="b", job="a", state=State.FAILURE, submitted_at=to_timestamp(BASE))
    broken = Run(id="a", job="a", state=State.FAILURE)
    for runs in ([whole, broken], [broken, whole], [broken]):
        page = merge([Part(runs, Position(BASE, "b")), Part([], None)], limit=9, newest=True)
        assert page.runs == runs
