"""``runner tick`` as a person calls it."""

from __future__ import annotations

from tests.support.deadline import wait_until
from tests.support.project import Project


def test_a_tick_is_silent_and_submits_what_is_due(scheduled: Project) -> None:
    first = scheduled.cli("tick").check()
    assert (first.stdout, first.stderr) == ("", "")

    def due() -> list[dict[str, str]]:
        return list(scheduled.cli("tick", "--json").check().json["submitted"])

    [made] = wait_until(due)
    assert made["job"] == "second"
    run = scheduled.document(made["id"])
    assert (run["slot"], run["trigger"], run["state"]) == (made["slot"], "schedule", "PENDING")
    assert scheduled.document("@second")["job"] == "second"
    assert "slot" in scheduled.cli("status", made["id"]).check().stdout


def test_a_project_that_says_schedules_false(scheduled: Project) -> None:
    scheduled.cli("tick").check()
    wait_until(lambda: any(slot["missed"] for slot in scheduled.cli("upcoming", "--json").check().json))
    off = {"RUNNER_SCHEDULES": "false"}
    assert scheduled.cli("tick", "--json", env=off).check().json == {"submitted": [], "next": None}
    assert "schedules: false" in scheduled.cli("upcoming", env=off).check().stderr
    assert scheduled.cli("tick", "--json").check().json["submitted"]
