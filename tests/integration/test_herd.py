"""A thundering herd: a thousand submissions of one key from eight processes make one run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from tests.support.project import Project, clean_environment

HERD = """
import json, sys
import runner

sys.stdin.readline()
ids = {runner.submit("echo", {"x": 1}, key="same", project=sys.argv[1]).id for _ in range(125)}
print(json.dumps(sorted(ids)))
"""


def test_a_thousand_submissions_of_one_key_make_one_run(make_project: Callable[..., Project]) -> None:
    project = make_project({"echo": {"task": "work:echo", "params": {"x": {"type": "integer"}}}}, {})
    started = [
        subprocess.Popen(
            [sys.executable, "-c", HERD, str(project.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean_environment(),
            text=True,
        )
        for _ in range(8)
    ]
    by_hand = [project.cli("submit", "echo", "-p", "x=1", "--key", "same").check().id for _ in range(2)]
    # Together: each waits for this line.
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ids = {run_id for process in started for run_id in json.loads(process.communicate(timeout=120)[0])}
    assert ids == set(by_hand)
    [run_id] = ids
    assert [run.id for run in project.ledger().runs()] == [run_id]
    # The key outlives its run.
    project.cli("revoke", run_id).check()
    project.cli("forget", run_id).check()
    assert project.cli("submit", "echo", "-p", "x=1", "--key", "same").check().id == run_id
    assert project.cli("submit", "echo", "-p", "x=2", "--key", "same").check(2)
