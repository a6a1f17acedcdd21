"""``runner watch``: events as they happen."""

from __future__ import annotations

import json

from tests.support.project import Project


def test_watch_of_a_run_ends_with_it(served: Project) -> None:
    run_id = served.submit("hello")
    events = [json.loads(line) for line in served.cli("watch", run_id, "--jsonl").check().stdout.splitlines()]
    assert events[-1]["state"] == "SUCCESS"
    assert {event["id"] for event in events} == {run_id}
    again = served.cli("watch", run_id, "--jsonl", "--from", "0").check().stdout.splitlines()
    assert [json.loads(line)["state"] for line in again] == ["PENDING", "STARTED", "SUCCESS"]
    rest = served.cli("watch", run_id, "--jsonl", "--from", json.loads(again[0])["event"]).check().stdout.splitlines()
    assert rest == again[1:]
    assert served.cli("watch", run_id[:8]).check().stdout.split()[2] == "SUCCESS"
    served.cli("watch", "0" * 36).check(4)
    served.cli("watch", "@hellp").check(4)
    assert "mean hello?" in served.cli("watch", "hellp").check(2).stderr
    served.cli("watch", run_id, "--from", "what").check(2)


def test_watch_of_a_job_goes_on(served: Project) -> None:
    with served.start("watch", "hello", "--from", "0") as watching:
        for _ in range(2):
            served.cli("submit", "speaks", "--wait").check()
            run_id = served.cli("submit", "hello", "--wait").check().id
            watching.wait_for(f"SUCCESS .*{run_id}", stream="out")
        assert "speaks" not in watching.stdout
        assert watching.terminate() == 143
