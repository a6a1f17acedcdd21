"""``why`` is right about a run in every place where it can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner.actions.project import Project
from runner.actions.why import why
from runner.ledger.pauses import pause, resume
from runner.model.concurrency import Concurrency
from runner.model.rate import Rate
from runner.model.require import Require
from runner.model.run import State, to_datetime
from runner.settings import Settings
from tests.support.bench import ERROR, Bench


@pytest.fixture
def project(bench: Bench, settings: Settings, tmp_path: Path) -> Project:
    folder = tmp_path / "jobs.d"
    folder.mkdir()
    (folder / "jobs.yaml").write_text("jobs: {job: {task: 'a:b'}, idle: {task: 'a:b', enabled: false}}\n")
    folder.chmod(0o755)
    return Project(replace(settings, project=tmp_path, jobs_dir=(folder,)))


def told(project: Project, run_id: str) -> str:
    facts, explanation = why(project, run_id)
    assert facts.document()
    return "\n".join(
        [explanation.summary, *explanation.because, *(" ".join(command) for command in explanation.commands)]
    )


def test_waiting_in_a_queue(bench: Bench, project: Project) -> None:
    first, second = bench.submit(), bench.submit()
    urgent = bench.submit(priority=9)
    assert "no live worker takes runs from queue default" in told(project, first.id)
    assert "worker" in told(project, first.id).splitlines()[-1]
    bench.beat()
    text = told(project, second.id)
    assert "2 runs are ahead of it in queue default" in text
    assert "2 runs are ahead of it" not in told(project, first.id)
    assert "1 run is ahead of it with a higher priority" in text
    assert "taken by w1" in text
    assert "it is the next one in queue default" in told(project, urgent.id)
    facts, _ = why(project, first.id)
    assert (facts.ahead, facts.higher) == (0, 1)


def test_far_behind_in_a_long_queue(bench: Bench, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.beat()
    runs = [bench.submit() for _ in range(203)]
    assert "202 runs are ahead" in told(project, runs[-1].id)
    monkeypatch.setattr("runner.actions.why.LOOK", 100)
    assert "more runs are ahead of it than were looked at" in told(project, runs[-1].id)
    assert "99 runs are ahead" in told(project, runs[99].id)


def test_delayed_fetched_started_and_lost(bench: Bench, project: Project) -> None:
    later = bench.submit(eta=bench.now() + 1000)
    assert "its start, due at" in told(project, later.id)
    run = bench.submit()
    token = bench.claim_of(run)
    bench.beat()
    assert "worker w1 has fetched it" in told(project, run.id)
    bench.attempts.start(run.id, token, "w1", run.job)
    bench.attempts.progress(run.id, token, 0.25, "1 of 4")
    text = told(project, run.id)
    assert "it runs: attempt 1 on w1" in text
    assert "progress: 25% 1 of 4" in text
    bench.let_leases_end(token)
    assert "has not been heard of since its lease ended" in told(project, run.id)
    bench.beat()
    text = told(project, run.id)
    assert "it waits for a retry, due at" in text
    assert "a process that ran it died at" in text
    assert "OOM killer" not in text
    bench.make_due(run.id)
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1", "signal": "SIGKILL", "oom_killed": True})
    assert "on w1 (signal SIGKILL, ended by the kernel's OOM killer)" in told(project, run.id)


def test_retry_and_ends(bench: Bench, project: Project) -> None:
    run = bench.submit()
    bench.attempts.retry(run.id, bench.start(run), 1000.0, ERROR)
    text = told(project, run.id)
    assert "it waits for a retry, due at" in text
    assert "last error: ValueError: no" in text
    assert bench.ledger.get(run.id).detail == "waiting for a retry"
    assert "waiting for a retry" not in text
    bench.ledger.revoke(run.id, by="me", comment="enough")
    text = told(project, run.id)
    assert "it ended in REVOKED, cancelled" in text
    assert text.count("revoked") == 1
    assert "revoked by me" in text
    assert "enough" in text
    run = bench.submit()
    bench.attempts.fail(run.id, bench.start(run), "exception", ERROR)
    assert told(project, run.id).endswith(f"rerun {run.id}")
    run = bench.submit()
    bench.attempts.succeed(run.id, bench.start(run), "1")
    assert "it succeeded after" in told(project, run.id)
    run = bench.submit(expires=1000.0)
    bench.make_expire(run.id)
    assert "it ended in REVOKED, expired" in told(project, run.id)


def test_waiting_for_another_job(bench: Bench, project: Project) -> None:
    job = replace(bench.job(), require=(Require(job="extract", within=72_000.0),))
    first, second = bench.submit(job=job, expires=1000.0), bench.submit(job=job)
    text = told(project, first.id)
    assert "it waits for job extract to succeed: job requires that within 20h" in text
    assert "extract never succeeded" in text
    assert "job extract is not declared in this project's files" in text
    idle = bench.submit(job=replace(job, require=(Require(job="idle", within=60.0),)))
    assert "job idle is disabled" in told(project, idle.id)
    pause(bench.ledger, "job", by="me")
    other = bench.submit(job=replace(bench.job("other"), require=(Require(job="job", within=60.0),)))
    assert "job job is paused" in told(project, other.id)
    resume(bench.ledger, "job")
    assert "it waits until" in text
    assert "submit extract" in text
    bench.ledger.client.hset(bench.ledger.keys.succeeded, "extract", 1_700_000_000_000)
    assert "extract last succeeded at 2023-11-14" in told(project, second.id)
    facts, _ = why(project, second.id)
    assert facts.document()["required_job"] == "extract"
    assert facts.document()["required_job_succeeded"] == "2023-11-14T22:13:20.000Z"
    bench.end(State.SUCCESS, job=bench.job("extract"))
    bench.beat()
    assert "is waiting" not in told(project, second.id)


def test_waiting_for_its_rate(bench: Bench, project: Project) -> None:
    job = replace(bench.job(), rate=Rate(limit=2, per=60.0))
    runs = [bench.submit(job=job) for _ in range(6)]
    for run in runs[:2]:
        bench.attempts.succeed(run.id, bench.start(run), "1")
    text = told(project, runs[3].id)
    assert "it waits for its rate limit (2 starts in 1m), until" in text
    assert "1 run is waiting before it" in text
    assert "it is the next one to start" in told(project, runs[2].id)
    free = [why(project, run.id)[0].rate_free or 0 for run in runs[2:]]
    begun = [to_datetime(bench.ledger.get(run.id).started_at or "").timestamp() for run in runs[:2]]
    assert free == [round((at + later) * 1000) for later in (60, 120) for at in begun]


@pytest.mark.parametrize("note", ["the worker stops", "scheduled for maintenance", "waiting in queue for a GPU"])
def test_what_a_worker_noted_is_told_whatever_its_words(bench: Bench, project: Project, note: str) -> None:
    run = bench.submit()
    bench.ledger.script("hand_back", 60_000, note, "", bench.claim_of(run))
    assert bench.ledger.get(run.id).detail == note
    assert note in told(project, run.id)


def test_what_the_files_say_of_its_job(bench: Bench, project: Project) -> None:
    assert "was changed since" in told(project, bench.submit().id)
    assert "is not declared" in told(project, bench.submit(job=bench.job("nobody")).id)
    assert "is disabled now" in told(project, bench.submit(job=bench.job("idle")).id)
    run = bench.submit(job=bench.job("nobody"))
    bench.ledger.script("hand_back", 60_000, "no worker here knows the job", "", bench.claim_of(run))
    text = told(project, run.id)
    assert "workers have handed it back since" in text
    assert "no worker here knows the job" in text


def test_a_message_that_is_gone(bench: Bench, project: Project) -> None:
    bench.beat()
    run = bench.submit()
    bench.ledger.client.delete(f"{bench.ledger.namespace}:queue:default:5")
    assert told(project, run.id).endswith("doctor")


def test_held_by_a_pause_or_for_a_slot(bench: Bench, project: Project) -> None:
    bench.beat()
    job = replace(bench.job(), concurrency=Concurrency(limit=1))
    first, second, third = (bench.submit(job=job) for _ in range(3))
    text = told(project, second.id)
    assert text.startswith("it waits for a concurrency slot of its job")
    assert f"held by run {first.id}" in text
    assert "it is the next one to get it" in text
    assert "1 run is waiting before it" in told(project, third.id)
    pause(project.ledger, "job", by="me", comment="moving")
    text = told(project, first.id)
    assert text.startswith("job job is paused")
    assert "paused by me at" in text
    assert "moving" in text
    assert text.endswith("resume job")
    resume(project.ledger, "job")
    pause(project.ledger, "*", by="me", seconds=1000.0)
    text = told(project, third.id)
    assert text.startswith("all jobs are paused until")
    assert text.endswith("resume --all")
