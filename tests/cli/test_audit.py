"""``runner audit``: who did what."""

from __future__ import annotations

import json

from tests.support.project import Project


def test_audit(project: Project) -> None:
    run_id = project.submit("unserved")
    project.cli("revoke", run_id, "--comment", "wrong day").check()
    project.cli("forget", run_id).check()
    told = project.cli("audit", "--id", run_id, "--json").check().json
    assert {each["act"] for each in told} == {"submit", "revoke", "forget"}
    assert all("@" in each["by"] for each in told)
    shown = project.cli("audit", "--id", run_id, "--act", "revoke").check().stdout.splitlines()
    assert shown[0].split() == ["AT", "BY", "ACT", "JOB", "ID", "COMMENT"]
    assert shown[1].endswith("wrong day")
    lines = project.cli("audit", "--id", run_id, "--jsonl").check().stdout.splitlines()
    assert [json.loads(line)["act"] for line in lines] == [each["act"] for each in told]
    project.cli("audit", "--json", "--jsonl").check(2)
