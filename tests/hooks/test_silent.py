"""The hook ``silent``: told once in each outage, whoever looks, and whatever breaks in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from runner.catalog.catalog import Catalog
from runner.errors import Unavailable
from runner.hooks.fire import fire_hooks
from runner.hooks.silent import Silences
from runner.ledger.pauses import pause, resume
from runner.model.hooks import Hook, Hooks
from runner.model.job import JobSpec
from runner.model.param import Param
from runner.model.run import Run, State
from tests.hooks.firing import Broken, come_again, fired, waiting
from tests.hooks.test_hooks_of_workers import HOOK, TAKES_RUN, told
from tests.support.bench import Bench
from tests.support.catalogs import catalog_of
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.work import FILES

HOUR = 3600.0
JOB = JobSpec(
    name="job", task="m:a", digest="sha256:0", alert_if_no_success=HOUR, hooks=Hooks(silent=(Hook(job="told"),))
)
TOLD = JobSpec(name="told", task="m:a", params=MappingProxyType({"run": Param("run", MappingProxyType({}))}))
CATALOG = catalog_of({"job": JOB, "told": TOLD})


def succeed_long_ago(bench: Bench, hours: float = 2.0) -> str:
    """Have a run succeed, and move that back."""
    run, _ = bench.end(State.SUCCESS, job=JOB)
    at = round((bench.now() - hours * HOUR) * 1000)
    bench.ledger.client.hset(f"{bench.ledger.namespace}:succeeded", "job", at)
    return run.id


def look(bench: Bench, catalog: Catalog = CATALOG) -> int:
    return Silences().look(bench.ledger, catalog)


def alerts(bench: Bench) -> list[Run]:
    return fired(bench, CATALOG).get("told", [])


def test_an_outage_is_told_once_and_the_next_one_again(bench: Bench) -> None:
    latest = succeed_long_ago(bench)
    assert [look(bench) for _ in range(3)] == [1, 0, 0]
    [alert] = alerts(bench)
    given = alert.params["run"]
    assert (given["hook"], given["id"], given["job"], alert.hook_of) == ("silent", latest, "job", latest)
    assert given["last_success_at"] is not None
    bench.end(State.FAILURE, job=JOB)
    assert look(bench) == 0
    succeed_long_ago(bench, 1.5)
    assert [look(bench), look(bench)] == [1, 0]
    assert len(alerts(bench)) == 2


def test_a_job_that_succeeds_in_time_is_not_told_of(bench: Bench) -> None:
    bench.end(State.SUCCESS, job=JOB)
    assert (look(bench), waiting(bench)) == (0, 0)


def test_one_that_never_succeeded_is_told_of_once(bench: Bench) -> None:
    job = replace(JOB, alert_if_no_success=1.0)
    catalog = catalog_of({"job": job, "told": TOLD})
    assert look(bench, catalog) == 0  # it never ran
    run, _ = bench.end(State.FAILURE, job=job)
    bench.wait_until(lambda: look(bench, catalog) == 1)
    assert look(bench, catalog) == 0
    [alert] = alerts(bench)
    assert (alert.params["run"]["last_success_at"], alert.hook_of) == (None, run.id)


def test_it_is_told_though_its_runs_are_forgotten(bench: Bench) -> None:
    bench.ledger.forget(succeed_long_ago(bench))
    assert look(bench) == 1
    [alert] = alerts(bench)
    given = alert.params["run"]
    assert (given["id"], given["job"], given["state"], alert.hook_of) == (None, "job", None, None)


def test_a_paused_job_is_not_told_of_until_it_is_resumed(bench: Bench) -> None:
    succeed_long_ago(bench)
    pause(bench.ledger, "job", by="me")
    assert look(bench) == 0
    resume(bench.ledger, "job")
    assert look(bench) == 1


def test_many_that_look_at_once_tell_it_once(bench: Bench) -> None:
    succeed_long_ago(bench)
    with ThreadPoolExecutor(12) as herd:
        assert sum(herd.map(lambda _: look(bench), range(60))) == 1
    assert len(alerts(bench)) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("script", ["silent", "outbox", "submit"])
def test_whatever_breaks_it_is_told_once(bench: Bench, script: str, after: bool) -> None:
    succeed_long_ago(bench)
    broken = Broken(bench.ledger.client, bench.ledger.settings)
    broken.at, broken.after = script, after
    for _ in range(2):
        with pytest.raises(Unavailable):  # noqa: PT012 - either may break
            Silences().look(broken, CATALOG)
            if script == "silent":
                raise Unavailable("it had been noted")
            fire_hooks(broken, CATALOG, by="w1")
        come_again(bench)
    look(bench)
    assert len(alerts(bench)) == 1
    assert waiting(bench) == 0


def test_a_success_meanwhile_or_a_damaged_record_is_no_outage(bench: Bench) -> None:
    bench.end(State.SUCCESS, job=JOB)
    assert bench.ledger.script("silent", "job", 3_600_000, "1") == 0
    bench.ledger.client.hset(f"{bench.ledger.namespace}:succeeded", "job", "x")
    assert bench.ledger.script("silent", "job", 3_600_000, "") == 0


def test_one_process_looks_at_most_every_few_seconds_and_at_once_after_a_change(bench: Bench) -> None:
    silences = Silences()
    assert silences.look(bench.ledger, CATALOG) == 0
    succeed_long_ago(bench)
    assert silences.look(bench.ledger, CATALOG) == 0
    assert silences.look(bench.ledger, catalog_of({"job": JOB, "told": TOLD})) == 1


JOBS = {
    "silent": {"task": "work:value_error", "alert_if_no_success": "1s", "hooks": {"silent": ["tell"]}},
    "tell": {"task": "hooked:tell", "params": TAKES_RUN},
}


def test_workers_scheduler_and_tick_tell_an_outage_once_together(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(JOBS, {**FILES, "hooked.py": HOOK}, {"worker": {"lease": "2s"}})
    path = tmp_path / "told.jsonl"
    with project.worker(env={"TOLD": str(path)}) as worker:
        run_id = project.cli("submit", "silent", "--wait").check(1).id
        os.kill(worker.pid, signal.SIGKILL)
    noted = f"{project.ledger().namespace}:silent"

    def ticked() -> bool:
        project.cli("tick").check()
        return bool(project.redis().hexists(noted, "silent"))

    wait_until(ticked, 60.0, "a tick notes the outage")
    with project.worker(env={"TOLD": str(path)}) as worker:
        wait_until(lambda: told(path), 60.0, "the hook has run")
        os.kill(worker.pid, signal.SIGKILL)
    with project.worker(env={"TOLD": str(path)}):
        project.cli("submit", "silent", "--wait").check(1)
        project.cli("tick").check()
    assert {(call["event"], call["id"]) for call in told(path)} == {("silent", run_id)}
    assert len([run for run in project.ledger().runs(limit=100) if run.trigger == "hook"]) == 1
