"""Of runs that changed, those that a list would show are found, wherever in the list they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runner.actions.changed_runs import read_changed
from runner.actions.project import Project
from runner.errors import UnknownRun
from runner.model.run import State, to_datetime
from runner.model.run_query import RunQuery
from runner.settings import Settings
from tests.support.bench import Bench


@pytest.fixture
def project(settings: Settings) -> Iterator[Project]:
    opened = Project(settings)
    yield opened
    opened.ledger.close()


def test_the_runs_that_a_list_would_show(bench: Bench, project: Project) -> None:
    failed, _ = bench.end(State.FAILURE)
    good, _ = bench.end(State.SUCCESS)
    waiting = bench.submit(key="k")
    others = [bench.submit() for _ in range(30)]
    changed = {failed.id, good.id, waiting.id, "unknown"}
    at = to_datetime(good.submitted_at or "").timestamp()

    def found(**query: Any) -> set[str]:
        return {run.id for run in read_changed(project, RunQuery(**query), changed)}

    assert found() == {waiting.id, good.id, failed.id}
    assert found(sort="longest") == found(sort="oldest") == found()
    assert found(state=[State.FAILURE]) == {failed.id}
    assert found(key="k") == {waiting.id}
    assert found(job="another") == found(archived=True) == set()
    assert good.id in found(since=at)
    assert good.id not in found(since=at + 0.001)
    assert good.id not in found(until=at - 0.001)
    assert read_changed(project, RunQuery(), [others[0].id])[0].id == others[0].id
    with pytest.raises(UnknownRun):
        found(flow="0" * 32)
