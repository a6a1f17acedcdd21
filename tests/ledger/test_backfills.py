"""A backfill and the schedule share their slots: each has one run, whoever comes first."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.actions.backfill import backfill
from runner.ledger.slots import slot_id
from tests.ledger.schedules import Place, ms
from tests.support.bench import Bench


@pytest.fixture
def place(bench: Bench, tmp_path: Path) -> Place:
    return Place(tmp_path / "a", bench.ledger.settings, bench.ledger)


def filled(place: Place, begin: str, end: str, again: bool = False) -> list[str]:
    """Backfill hours of 1 January 2026, and return those that were submitted."""
    made = backfill(place.engine().project, "job", f"2026-01-01T{begin}Z", f"2026-01-01T{end}Z", again=again)
    hours = [f"{datetime.fromtimestamp(slot.slot / 1000, UTC):%H}" for slot in made.slots if not slot.known]
    assert made.submitted == len(hours)
    return hours


def test_a_backfill_leaves_the_other_slots_to_the_schedule(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T04:30")
    # From before the schedule was in use, and one that no tick has come to yet.
    assert filled(place, "01:00", "02:00") == ["01", "02"]
    assert filled(place, "06:00", "06:00") == ["06"]
    assert place.tick("2026-01-01T08:30") == ["job 01T05:00", "job 01T07:00", "job 01T08:00"]
    assert filled(place, "00:00", "08:00") == ["00", "03", "04"]
    assert filled(place, "00:00", "08:00") == []
    assert place.tick("2026-01-01T09:00") == ["job 01T09:00"]
    before, after = place.runs("job")[:5], place.runs("job")[5:]
    assert {run.trigger for run in before} == {"backfill"}
    assert [run.trigger for run in after] == ["schedule", "backfill", "schedule", "schedule", "schedule"]


@pytest.mark.parametrize("pruned", [False, True], ids=["forgotten", "pruned"])
def test_what_ran_before_its_history_was_pruned_is_skipped(place: Place, bench: Bench, pruned: bool) -> None:
    place.write("job: {schedule: {every: 1h}}")
    place.tick("2026-01-01T00:00")
    place.tick("2026-01-01T01:00")
    assert filled(place, "02:00", "02:00") == ["02"]
    for run in place.runs("job"):
        place.ledger.revoke(run.id, by="me")
        if pruned:
            place.ledger.client.zadd(f"{place.namespace}:prunable", {run.id: 1})
            bench.beat()
        else:
            place.ledger.forget(run.id)
    assert place.runs("job") == []
    assert filled(place, "01:00", "03:00") == ["03"]
    assert filled(place, "01:00", "03:00", again=True) == ["01", "02", "03"]
    # Once more is another one.
    assert filled(place, "01:00", "01:00", again=True) == ["01"]
    assert len(place.runs("job")) == 5


def test_a_slot_that_ran_again_alone_is_not_run_by_the_schedule(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    assert filled(place, "01:00", "01:00", again=True) == ["01"]
    assert place.tick("2026-01-01T02:00") == ["job 01T02:00"]


def test_params_that_do_not_fit_make_a_run_that_says_so(place: Place) -> None:
    place.write('job: {schedule: {every: 1h, params: {hour: "${run.slot.hour}"}}, params: {hour: {maximum: 1}}}')
    assert filled(place, "01:00", "02:00") == ["01", "02"]
    assert [(run.state, run.reason) for run in place.runs("job")] == [("PENDING", None), ("FAILURE", "invalid_params")]
    assert place.runs("job")[1].id == slot_id(place.namespace, "job", ms("2026-01-01T02:00"))


def test_each_slot_counts_as_another_whatever_unique_says(place: Place) -> None:
    place.write("job: {schedule: {every: 1h}, unique: {for: 1h}}")
    assert filled(place, "01:00", "03:00") == ["01", "02", "03"]
    assert len(place.runs("job")) == 3


def test_a_run_waits_for_its_turn_then_for_its_rate_and_its_slot(place: Place) -> None:
    place.write(
        "job: {schedule: {every: 1h}, rate: {limit: 3, per: 1h}, concurrency: {limit: 2, key: '${run.slot}'}}\n"
        "one: {schedule: {every: 1h}, concurrency: {limit: 1, policy: skip}}"
    )
    for job in ("job", "one"):
        backfill(place.engine().project, job, "2026-01-01T01:00Z", "2026-01-01T06:00Z", at_once=4)
    details = {job: [run.detail for run in place.runs(job)] for job in ("job", "one")}
    turn = "waiting for its turn in a backfill"
    assert details["job"][3:] == ["waiting for its rate limit", turn, turn]
    assert details["one"][1:] == ["waiting for a concurrency slot"] * 3 + [turn] * 2
    # One that ends lets the next one have its turn, which waits for the rest.
    for job in ("job", "one"):
        place.ledger.revoke(place.runs(job)[0].id, by="me")
    assert [run.detail for run in place.runs("job")][3:] == ["waiting for its rate limit"] * 2 + [turn]
    assert [run.detail for run in place.runs("one")][2:] == ["waiting for a concurrency slot"] * 3 + [turn]
    assert {run.reason for run in place.runs("one")} == {"cancelled", None}
