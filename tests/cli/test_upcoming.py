"""``runner upcoming``: what will run, what was missed, and what would pile up."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.servers import Server


def test_upcoming(scheduled: Project) -> None:
    found = scheduled.cli("upcoming", "--job", "night", "--from", "2026-03-28", "--limit", "2", "--json").check().json
    # The clock of Berlin skips 02:30 on 29 March: the run comes right after.
    assert [slot["slot"] for slot in found] == ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z"]
    assert all(slot["slot"] <= slot["start"] < slot["slot"][:14] + "59" for slot in found)
    assert [slot["missed"] for slot in found] == [False, False]
    assert re.fullmatch(r"[0-9a-f-]{36}", found[0]["id"])
    day = scheduled.cli("upcoming", "--from", "2026-11-24", "--to", "2026-11-24 00:00:02+01:00", "--json").check().json
    assert [slot["job"] for slot in day] == ["second", "second"]
    text = scheduled.cli("upcoming", "--all", "-n", "3", "--utc").check().stdout.splitlines()
    assert text[0].split()[:2] == ["SLOT", "JOB"]
    assert len(text) == 4
    assert scheduled.cli("upcoming", "--job", "by-hand").check().stderr == "no scheduled runs\n"
    assert scheduled.cli("upcoming", "--job", "idle", "--json").check().json == []
    scheduled.cli("upcoming", "--job", "nihgt").check(2)
    scheduled.cli("upcoming", "--to", "2020-01-01").check(2)


def test_the_next_slot_of_each_job_or_all(scheduled: Project) -> None:
    found = scheduled.cli("upcoming", "--json").check().json
    assert [slot["job"] for slot in found] == ["second", "night"]
    every = scheduled.cli("upcoming", "--all", "--limit", "5", "--json").check().json
    assert [slot["job"] for slot in every] == ["second"] * 5
    assert len({slot["slot"] for slot in every}) == 5
    assert len(scheduled.cli("upcoming", "--job", "second", "--json").check().json) == 20
    assert "leave out --all" in scheduled.cli("upcoming", "--all", "--simulate").check(2).stderr


def test_what_is_paused_and_what_no_worker_takes_is_marked(scheduled: Project) -> None:
    def marks() -> dict[str, tuple[bool, bool]]:
        found = scheduled.cli("upcoming", "--json").check().json
        return {slot["job"]: (slot["paused"], slot["served"]) for slot in found}

    assert marks() == {"second": (False, False), "night": (False, False)}
    scheduled.cli("pause", "second").check()
    # The pause is over before the slot comes.
    scheduled.cli("pause", "night", "--for", "1ms").check()
    with scheduled.worker():
        assert marks() == {"second": (True, True), "night": (False, True)}
        text = scheduled.cli("upcoming").check().stdout
        assert re.search(r"second .*PAUSED$", text, re.MULTILINE)
        assert "NO WORKER" not in text
        assert scheduled.cli("upcoming", "-o", "{job} {state}").check().stdout == "second PAUSED\nnight \n"
    wait_until(lambda: "PAUSED, NO WORKER" in scheduled.cli("upcoming").check().stdout, 30.0, "the worker is gone")
    scheduled.cli("pause", "--all").check()
    assert all(paused for paused, _ in marks().values())


def test_without_redis_slots_are_shown_and_marks_are_not(scheduled: Project) -> None:
    done = scheduled.cli("upcoming", "--json", env={"RUNNER_REDIS_URL": "redis://127.0.0.1:1/0"}).check()
    assert {slot["served"] for slot in done.json} == {None}
    assert "pauses and workers are not known" in done.stderr


def test_upcoming_from_one_time_of_day_to_another_while_it_lies_between(scheduled: Project) -> None:
    now = datetime.now(ZoneInfo("Europe/Berlin"))
    begin, end = (f"{(now.hour + hours) % 24:02}:30" for hours in (-2, 2))
    found = scheduled.cli("upcoming", "--from", begin, "--to", end, "-n", "1", "--json").check().json
    first = datetime.fromisoformat(found[0]["slot"])
    assert f"{first.astimezone(now.tzinfo):%H:%M}" == begin
    assert timedelta(hours=20) < first - now < timedelta(hours=25)


def test_upcoming_shows_what_was_missed(scheduled: Project) -> None:
    assert not any(slot["missed"] for slot in scheduled.cli("upcoming", "--json").check().json)
    scheduled.cli("tick").check()

    def missed() -> list[str]:
        found = scheduled.cli("upcoming", "--json", "--job", "second").check().json
        return [slot["id"] for slot in found if slot["missed"]]

    wait_until(missed)
    # It is what the next tick submits, or an earlier slot that a later one has replaced.
    assert len(missed()) == 1
    assert scheduled.cli("tick", "--json").check().json["submitted"]


def test_simulate(scheduled: Project, redis_server: Server) -> None:
    slow = '{task: "time:sleep", args: [0.3], schedule: {every: 1s}}'
    other = '{task: "a:b", schedule: "@daily"}'
    scheduled.write({"jobs.d/jobs.yaml": f"jobs:\n  slow: {slow}\n  other: {other}\n"})
    with scheduled.worker(concurrency=1):
        run_id = scheduled.submit("slow", "--wait")
    ledger = scheduled.ledger()
    # As if it had taken 2.5 s.
    key = f"{scheduled.namespace}:run:{run_id}"
    started = float(ledger.client.hget(key, "finished_at")) - 2500  # type: ignore[arg-type]
    ledger.client.hset(key, "started_at", int(started))
    ledger.close()
    asked = ("--simulate", "--from", "2026-11-24T00:00:00.5Z", "--to", "2026-11-24T00:00:10Z")
    found = scheduled.cli("upcoming", *asked, "--json").check().json
    assert found["total"]["runs"] == 10
    assert found["total"]["peak"] == 3
    assert found["queues"]["default"]["busy_seconds"] == 25.0
    assert len(found["overlaps"]) == 9
    assert found["overlaps"][0] == {
        "job": "slow",
        "slot": "2026-11-24T00:00:02.000Z",
        "busy_until": "2026-11-24T00:00:03.500Z",
    }
    text = scheduled.cli("upcoming", *asked).check()
    assert "overlap: slow at" in text.stdout
    unknown = scheduled.cli("upcoming", "--simulate", "--job", "other", "--json").check().json
    assert unknown["unknown_durations"] == ["other"]
