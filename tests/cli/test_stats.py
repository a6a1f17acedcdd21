"""``runner stats``: figures of jobs."""

from __future__ import annotations

from tests.support.project import Project


def test_stats(served: Project) -> None:
    served.cli("submit", "speaks", "--wait").check()
    stats = served.cli("stats", "speaks", "--json").check().json
    assert stats["states"]["SUCCESS"] >= 1
    assert stats["success_rate"] == 1
    assert stats["days"][-1]["success"] + stats["days"][-2]["success"] >= 1
    assert served.cli("stats", "speaks").check().stdout.startswith("job ")
    table = served.cli("stats").check().stdout.splitlines()
    assert [line.split()[0] for line in table[1:]] == sorted(line.split()[0] for line in table[1:])
    assert any(line.startswith("speaks ") and "100 %" in line for line in table)
    served.cli("stats", "unknown").check(2)
