"""Slots and the ledger: each makes one run, whoever submits it, and whatever happens in between."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.ledger.slots import VERSIONS_KEPT, Note, note, read_marks, slot_id
from runner.schedule.rules import no_calendars
from runner.schedule.timetable import merged, milliseconds, timetables
from tests.ledger.schedules import Place, ms, swarm_clock
from tests.support.bench import Bench
from tests.support.deadline import wait_until

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def place(bench: Bench, tmp_path: Path) -> Place:
    return Place(tmp_path / "a", bench.ledger.settings, bench.ledger)


def test_a_slot_makes_one_run(place: Place) -> None:
    place.write('hourly: {schedule: "0 * * * *", params: {day: {type: string, default: today}}}')
    assert place.tick("2026-01-01T00:30") == []
    assert place.tick("2026-01-01T00:59") == []
    assert place.tick("2026-01-01T01:00") == ["hourly 01T01:00"]
    assert place.tick("2026-01-01T01:00") == []
    assert place.tick("2026-01-01T01:59") == []
    assert place.tick("2026-01-01T02:01") == ["hourly 01T02:00"]
    first = place.runs("hourly")[0]
    assert (first.trigger, first.slot, first.params) == ("schedule", "2026-01-01T01:00:00.000Z", {"day": "today"})
    assert first.id == slot_id(place.namespace, "hourly", ms("2026-01-01T01:00"))
    assert first.eta is None


def test_two_hosts_make_one_run(place: Place, tmp_path: Path) -> None:
    other = place.another(tmp_path / "b")
    for checkout in (place, other):
        checkout.write("often: {schedule: {every: 1m}}")
        checkout.tick("2026-01-01T00:00")
    for minute in range(1, 9):
        made = [checkout.tick(f"2026-01-01T00:{minute:02}") for checkout in (place, other)]
        assert made == [[f"often 01T00:{minute:02}"], []]
        place, other = other, place


def test_a_new_job_does_not_catch_up(place: Place) -> None:
    place.write("all: {schedule: {every: 1h, catchup: all, catchup_window: 30d}}")
    assert place.tick("2026-01-01T12:00") == []
    assert place.tick("2026-01-01T13:00") == ["all 01T13:00"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("catchup: none", []),
        ("catchup: last", ["04"]),
        ("catchup: all", ["01", "02", "03", "04"]),
        ("catchup: all, catchup_window: 2h", ["03", "04"]),
        ("catchup: last, catchup_window: 10m", []),
    ],
)
def test_an_outage(place: Place, options: str, expected: list[str]) -> None:
    place.write(f"job: {{schedule: {{every: 1h, {options}}}}}")
    place.tick("2026-01-01T00:00")
    assert place.tick("2026-01-01T04:30") == [f"job 01T{hour}:00" for hour in expected]
    assert place.tick("2026-01-01T04:31") == []
    assert place.tick("2026-01-01T05:00") == ["job 01T05:00"]


def test_a_changed_schedule_begins_anew(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.write("job: {schedule: {every: 10m, catchup: all}}")
    assert place.tick("2026-01-01T02:05") == []
    assert place.tick("2026-01-01T02:10") == ["job 01T02:10"]


def test_what_does_not_change_slots_changes_nothing(place: Place) -> None:
    place.write("job: {schedule: {every: 1h}}")
    place.tick("2026-01-01T00:00")
    place.write("job: {priority: 7, schedule: {every: 1h, catchup: all, jitter: 5m}}")
    assert len(place.tick("2026-01-01T02:05")) == 2


def test_a_roll_out_loses_no_slot(place: Place, tmp_path: Path) -> None:
    """While hosts disagree, each goes on with the schedule it has."""
    other = place.another(tmp_path / "b")
    place.write("job: {schedule: {every: 1m}}")
    other.write("job: {schedule: {every: 90s}}")
    made = []
    place.tick("2026-01-01T00:00")
    for second in range(10, 900, 10):
        for checkout in (place, other):
            checkout.now = ms("2026-01-01T00:00") + second * 1000
            made += checkout.tick()
    found = {(slot.minute, slot.second) for slot in place.slots("job")}
    assert {(minute, 0) for minute in range(1, 15)} <= found
    assert {(second // 60, second % 60) for second in range(90, 890, 90)} <= found
    assert len(made) == len(place.slots("job")) == len(found)


def test_an_old_version_that_comes_back_does_not_catch_up(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.write("job: {schedule: {every: 2h, catchup: all}}")
    place.tick("2026-01-01T00:30")
    place.now += VERSIONS_KEPT + 60_000
    place.tick()
    assert len(read_marks(place.ledger).versions["job"]) == 1
    place.tick("2026-01-01T05:00")
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    assert place.tick("2026-01-01T06:30") == []
    assert place.tick("2026-01-01T07:00") == ["job 01T07:00"]


def test_a_job_that_is_gone_is_forgotten_and_comes_back_anew(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}\nother: {schedule: {every: 1d}}")
    place.tick("2026-01-01T00:00")
    place.write("other: {schedule: {every: 1d}}")
    place.tick("2026-01-01T00:30")
    place.now += VERSIONS_KEPT + 60_000
    place.tick()
    assert "job" not in read_marks(place.ledger).versions
    place.write("job: {schedule: {every: 1h, catchup: all}}\nother: {schedule: {every: 1d}}")
    assert place.tick("2026-01-01T05:30") == []
    assert place.tick("2026-01-01T06:00") == ["job 01T06:00"]


def test_a_disabled_job_does_not_fire_and_does_not_catch_up(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.write("job: {enabled: false, schedule: {every: 1h, catchup: all}}")
    for hour in range(1, 6):
        assert place.tick(f"2026-01-01T0{hour}:00") == []
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    assert place.tick("2026-01-01T05:30") == []
    assert place.tick("2026-01-01T06:00") == ["job 01T06:00"]


def test_a_project_without_schedules_touches_nothing(place: Place) -> None:
    from runner.actions.tick import tick

    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.settings_text = "schedules: false\n"
    assert tick(place.engine().project, lambda: ms("2026-01-01T01:00")).submitted == ()
    place.settings_text = ""
    assert place.tick("2026-01-01T01:00") == ["job 01T01:00"]


def test_problems_hide_no_job(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.write("job: {schedule: {every: 1h, catchup: all}, timeout: 5}")
    for hour in (1, 2):
        assert place.tick(f"2026-01-01T0{hour}:00") == []
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    assert len(place.tick("2026-01-01T03:00")) == 3


def test_jitter_delays_the_run_and_not_its_slot(place: Place) -> None:
    place.write("job: {expires: 10m, schedule: {every: 1d, jitter: 1h}}")
    # By the real clock: the ledger decides itself whether an eta lies ahead.
    real = milliseconds(datetime.now(UTC))
    place.now = real
    place.tick()
    slot = (real // 86_400_000 + 1) * 86_400_000
    place.now = slot
    assert len(place.tick()) == 1
    run = place.runs("job")[0]
    [table] = timetables(place.engine().catalog.jobs["job"].schedule, "UTC", no_calendars)
    moment = datetime.fromtimestamp(slot / 1000, UTC)
    start = moment + table.jitter("job", moment)
    assert place.slots("job") == [moment]
    assert run.eta is not None
    assert abs(datetime.fromisoformat(run.eta) - start) < timedelta(milliseconds=2)
    assert datetime.fromisoformat(run.expires_at or "") - datetime.fromisoformat(run.eta) == timedelta(minutes=10)


def test_params_that_do_not_fit_are_a_failure_that_can_be_seen(place: Place) -> None:
    # It fits the first slots of a year.
    place.write('job: {schedule: {every: 1h, params: {day: "${run.slot.day}"}}, params: {day: {maximum: 1}}}')
    place.tick("2026-01-01T22:00")
    assert place.tick("2026-01-01T23:00") == ["job 01T23:00"]
    assert place.tick("2026-01-02T00:00") == ["job 02T00:00"]
    assert [(run.state, run.reason, run.params) for run in place.runs("job")] == [
        ("PENDING", None, {"day": 1}),
        ("FAILURE", "invalid_params", {}),
    ]
    assert "day" in (place.runs("job")[1].error or {})["message"]


# -- once, forever


@pytest.mark.parametrize("pruned", [False, True], ids=["forgotten", "pruned"])
def test_forgotten_and_pruned_slots_stay_submitted(place: Place, bench: Bench, pruned: bool) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.tick("2026-01-01T01:00")
    run = place.runs("job")[0]
    place.ledger.revoke(run.id, by="me")
    if pruned:
        place.ledger.client.zadd(f"{place.namespace}:prunable", {run.id: 1})
        bench.beat()
    else:
        place.ledger.forget(run.id)
    assert place.runs("job") == []
    submission = place.engine()._submission("job", ms("2026-01-01T01:00"), 0, 0)
    again = place.ledger.submit(submission)
    assert (again.id, again.run, again.duplicate) == (run.id, None, True)
    # Its record has expired too: what came later is known.
    place.ledger.client.delete(f"{place.namespace}:slot:job:{ms('2026-01-01T01:00')}")
    assert place.ledger.submit(submission).duplicate
    earlier = replace(submission, id="00000000-0000-5000-8000-000000000000", slot=ms("2026-01-01T00:30"))
    assert place.ledger.submit(earlier).duplicate
    assert place.runs("job") == []
    assert place.tick("2026-01-01T01:30") == []


def test_a_slot_record_keeps_its_run_where_the_mark_was_lost(place: Place) -> None:
    place.write("job: {schedule: {every: 1h, catchup: all}}")
    place.tick("2026-01-01T00:00")
    place.tick("2026-01-01T01:00")
    place.ledger.client.delete(f"{place.namespace}:slots")
    assert place.tick("2026-01-01T01:10") == []
    assert read_marks(place.ledger).last["job"] == ms("2026-01-01T01:00")
    ttl = place.ledger.client.pttl(f"{place.namespace}:slot:job:{ms('2026-01-01T01:00')}")
    assert 0 < ttl <= place.ledger.settings.retention.key * 1000


def test_marks_never_go_back(place: Place) -> None:
    note(place.ledger, 1000, [Note("job", "a", 500), Note("job", slot=400), Note("x", slot=1)])
    note(place.ledger, 900, [Note("job", "a")])
    marks = read_marks(place.ledger, ["job", "unknown"])
    assert marks.last == {"job": 500}
    assert marks.versions["job"] == ((("a"), 1000),)
    assert read_marks(place.ledger).last == {"job": 500, "x": 1}


def test_the_cache_of_next_slots_decides_nothing(place: Place) -> None:
    place.write('job: {schedule: "0 * * * *"}')
    place.tick("2026-01-01T00:30")
    cache = place.folder / ".runner" / "cache" / "schedules.json"
    cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the catalog's cache leaves out files so young
    place.tick("2026-01-01T00:30")
    for text in ("", "{}", "[1]", '{"basis": 1, "rows": []}', cache.read_text().replace("true", "5")):
        cache.write_text(text)
        assert place.tick("2026-01-01T00:31") == []
    cache.write_text(cache.read_text().replace(str(ms("2026-01-01T01:00")), str(ms("2026-01-01T00:00"))))
    assert place.tick("2026-01-01T00:40") == []
    cache.unlink()
    assert place.tick("2026-01-01T01:00") == ["job 01T01:00"]


JOBS = """
hourly: {schedule: {cron: "@hourly", timezone: Europe/Berlin, <<: *all}}
night: {schedule: {cron: "30 2 * * *", timezone: Europe/Berlin, <<: *all}}
day: {params: {day: {required: true}}, schedule: {cron: "@daily", timezone: Europe/Berlin, <<: *all, params: *day}}
office: {schedule: {cron: "*/20 8-17 * * mon-fri", timezone: America/New_York, <<: *all}}
often: {schedule: {every: 25m, <<: *all}}
both: {schedule: [{every: 6h, <<: *all}, {cron: "0 6 * * *", <<: *all}]}
"""


def test_ten_days_of_schedulers_and_ticks_that_are_killed(place: Place) -> None:
    """Each slot of ten simulated days, summer time ends in them, has one run."""
    chance = random.Random(7)
    begin, days = ms("2026-10-20T00:00"), 10
    place.now = begin
    place.write(JOBS)
    place.tick()
    kinds = ["scheduler"] * 5 + ["tick"] * 2
    kills = 0
    with swarm_clock(place) as key:
        client = place.ledger.client

        def start(kind: str) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-m", "tests.ledger.schedule_swarm", str(place.folder), kind]
            return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)

        swarm = [start(kind) for kind in kinds]
        try:
            wait_until(lambda: int(client.get(f"{place.namespace}:test-ready") or 0) >= len(kinds), 60.0)
            next_kill = time.monotonic()
            for now in range(begin, begin + days * 86_400_000, 7 * 60_000):
                client.set(key, now)
                time.sleep(0.003)  # the pace of the simulated clock
                if time.monotonic() >= next_kill:
                    victim = chance.randrange(len(swarm))
                    assert swarm[victim].poll() is None, "it ended by itself"
                    swarm[victim].send_signal(signal.SIGKILL)
                    swarm[victim].wait()
                    swarm[victim] = start(kinds[victim])
                    kills += 1
                    next_kill = time.monotonic() + chance.uniform(0.1, 0.4)
        finally:
            for process in swarm:
                process.kill()
                process.wait()
    end = begin + days * 86_400_000
    place.now = end
    place.tick()
    assert kills >= 5
    for name, job in place.engine().catalog.jobs.items():
        after, until = (datetime.fromtimestamp(timestamp / 1000, UTC) for timestamp in (begin, end))
        assert place.slots(name) == list(merged(timetables(job.schedule, "UTC", no_calendars), after, until)), name
    # One of them has 25 hours.
    assert [run.params for run in place.runs("day")] == [{"day": f"2026-10-{day:02}"} for day in range(20, 30)]
