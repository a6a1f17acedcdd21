"""``runner audit``: who did what."""

from __future__ import annotations

import json

from tests.support.project import Project


def test_audit(project: Project) -> None:
    run_id = project.submit("unserved")
    project.cli("revoke", run_id, "--comment", "wrong day").check()
    project.cli("forget", run_id).check()
    acts = project.cli("audit", "--id", run_id, "--json").check().json
    assert {act["act"] for act in acts} == {"submit", "revoke", "forget"}
    assert all("@" in act["by"] for act in acts)
    shown = project.cli("audit", "--id", run_id, "--act", "revoke").check().stdout.splitlines()
    assert shown[0].split() == ["AT", "BY", "ACT", "JOB", "ID", "COMMENT"]
    assert shown[1].endswith("wrong day")
    lines = project.cli("audit", "--id", run_id, "--jsonl").check().stdout.splitlines()
    assert [json.loads(line)["act"] for line in lines] == [act["act"] for act in acts]
    project.cli("audit", "--json", "--jsonl").check(2)
