"""Files of jobs change while a worker runs: what is saved takes effect, what runs goes on, and no run fails by it."""

from __future__ import annotations

import itertools
import os
import random
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.actions.project import Project as Opened
from runner.actions.submit import submit
from runner.errors import InvalidParams, UnknownJob
from tests.support.deadline import wait_until
from tests.support.project import COMMAND, Project, clean_environment
from tests.support.running import Running

WORK = textwrap.dedent(
    """
    import os, time

    def say(word="none", seconds=0.0):
        time.sleep(seconds)
        return [word, os.environ.get("WORD")]

    def wait_for(path, word="none"):
        open(path + ".started", "w").close()
        while not os.path.exists(path):
            time.sleep(0.02)
        return [word, os.environ.get("WORD")]

    def fail():
        raise ConnectionError("no")
    """
)


def job(word: str, *options: str, name: str = "say", task: str = "work:say") -> str:
    lines = [f"  {name}:", f"    task: {task}", f"    kwargs: {{word: {word}}}", f"    env: {{WORD: {word}}}"]
    return "\n".join([*lines, *(f"    {option}" for option in options)]) + "\n"


def jobs(*texts: str) -> str:
    return "jobs:\n" + "".join(texts)


def by_rename(path: Path, text: str) -> None:
    """Write as editors do: beside it, then over it."""
    beside = path.with_name(f".{path.name}.{time.monotonic_ns()}.swp")
    beside.write_text(text)
    beside.rename(path)


def result_of(project: Project, run_id: str) -> Any:
    return project.wait_for_state(run_id, "SUCCESS", "FAILURE", "REVOKED")["result"]


def test_edits_additions_and_removals_take_effect_without_a_restart(make_project: Callable[..., Project]) -> None:
    project = make_project(jobs(job("one")), {"work.py": WORK})
    file, more = project.path / "jobs.d" / "jobs.yaml", project.path / "jobs.d" / "more.yml"
    with project.worker(concurrency=1) as worker:
        assert result_of(project, project.submit("say")) == ["one", "one"]
        file.write_text(jobs(job("two")))
        assert result_of(project, project.submit("say")) == ["two", "two"]
        # A module that no process has imported, in a child that was forked before it was there.
        (project.path / "later.py").write_text("def late(word):\n    return 'late ' + word\n")
        by_rename(more, jobs(job("three", name="added", task="later:late")))
        assert result_of(project, project.submit("added")) == "late three"
        more.unlink()
        worker.wait_for("jobs are reloaded: removed added")
        assert project.cli("submit", "added").check(2)
        assert len(project.ledger().workers()) == 1


def test_what_runs_goes_on_and_the_next_attempt_has_the_new_options(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(jobs(job("one", "params: {path: {}}", task="work:wait_for")), {"work.py": WORK})
    file = project.path / "jobs.d" / "jobs.yaml"
    go = tmp_path / "go"
    with project.worker(concurrency=2) as worker:
        first = project.submit("say", "-p", f"path={go}")
        wait_until(Path(f"{go}.started").exists, 30.0, "the run starts")
        digest = project.document(first)["spec_digest"]
        file.write_text(jobs(job("two", "params: {path: {}}", "timeout: 300ms", task="work:wait_for")))
        worker.wait_for("jobs are reloaded: changed say")
        second = project.submit("say", "-p", f"path={tmp_path / 'never'}")
        timed_out = project.wait_for_state(second, "FAILURE", "SUCCESS")
        assert timed_out["reason"] == "timeout"
        file.unlink()
        worker.wait_for("jobs are reloaded: removed say")
        go.touch()
        assert result_of(project, first) == ["one", "one"]
        assert project.document(first)["spec_digest"] == digest


def test_a_broken_edit_keeps_the_last_good_state_of_its_file(make_project: Callable[..., Project]) -> None:
    project = make_project(jobs(job("one"), job("one", name="other")), {"work.py": WORK})
    file, more = project.path / "jobs.d" / "jobs.yaml", project.path / "jobs.d" / "more.yml"
    with project.worker(concurrency=1) as worker:
        old = [project.submit(name, "--in", "3s") for name in ("say", "other")]
        file.write_text(jobs(job("two", "timeout: 30"), job("two", name="other")))
        worker.wait_for("has no unit")
        worker.wait_for("last good state of jobs.d/jobs.yaml stays in force")
        more.write_text(jobs(job("four", name="new")))
        assert result_of(project, project.submit("new")) == ["four", "four"]
        assert [result_of(project, run_id) for run_id in old] == [["one", "one"]] * 2
        shown = project.cli("workers", "--json").check().json
        assert shown[0]["problems"]["count"] == 1
        assert shown[0]["kept"] == ["jobs.d/jobs.yaml"]
        found = project.cli("doctor", "--json").json
        assert [check["level"] for check in found["checks"] if check["name"] == "catalogs"] == ["warning"]
        file.write_text(jobs(job("three"), job("three", name="other")))
        worker.wait_for("no problems any more")
        assert result_of(project, project.submit("other")) == ["three", "three"]


def test_a_run_of_a_job_that_its_worker_does_not_know_yet_waits_for_the_file(
    make_project: Callable[..., Project],
) -> None:
    ahead = make_project(jobs(job("one"), job("new", name="new")), {"work.py": WORK}, name="ahead")
    behind = make_project(jobs(job("one")), {"work.py": WORK}, name="behind", namespace=ahead.namespace)
    with behind.worker(concurrency=1) as worker:
        run_id = ahead.submit("new")
        worker.wait_for("job new is not declared here, handed back")
        # The line comes before the run is handed back.
        wait_until(
            lambda: "is not declared by" in str(ahead.document(run_id)["detail"]),
            20.0,
            "the run says what it waits for",
        )
        (behind.path / "jobs.d" / "new.yaml").write_text(jobs(job("new", name="new")))
        run = ahead.wait_for_state(run_id, "SUCCESS", "FAILURE")
        assert (run["state"], run["attempts"], run["losses"], run["result"]) == ("SUCCESS", 1, 0, ["new", "new"])


def test_a_run_of_a_job_that_nobody_knows_fails_after_five_minutes(make_project: Callable[..., Project]) -> None:
    ahead = make_project(jobs(job("new", name="new")), {"work.py": WORK}, name="ahead")
    behind = make_project(jobs(job("one")), {"work.py": WORK}, name="behind", namespace=ahead.namespace)
    with behind.worker(concurrency=1) as worker:
        run_id = ahead.submit("new")
        worker.wait_for("job new is not declared here, handed back")
        ledger = ahead.ledger()
        try:
            # The line comes before the run is handed back.
            wait_until(lambda: ledger.refused_for(run_id) is not None, 20.0, "the run is handed back")
            ledger.client.hset(f"{ahead.namespace}:run:{run_id}", "refused_since", round((time.time() - 301) * 1000))
        finally:
            ledger.close()
        run = ahead.wait_for_state(run_id, "SUCCESS", "FAILURE")
        assert (run["state"], run["reason"], run["attempts"]) == ("FAILURE", "unknown_job", 0)


def test_a_run_of_another_digest_runs_by_the_workers_own_spec_and_says_which(
    make_project: Callable[..., Project],
) -> None:
    ahead = make_project(jobs(job("theirs", "params: {seconds: {default: 0}}")), {"work.py": WORK}, name="ahead")
    ours = jobs(job("ours", "params: {seconds: {type: integer, maximum: 5, default: 0}}"))
    behind = make_project(ours, {"work.py": WORK}, name="behind", namespace=ahead.namespace)
    [own] = [entry["digest"] for entry in behind.cli("jobs", "--json").check().json]
    with behind.worker(concurrency=1):
        run = ahead.wait_for_state(ahead.submit("say"), "SUCCESS", "FAILURE")
        assert (run["state"], run["result"], run["spec_digest"]) == ("SUCCESS", ["ours", "ours"], own)
        run = ahead.wait_for_state(ahead.submit("say", "-p", "seconds=60"), "SUCCESS", "FAILURE")
        assert (run["state"], run["reason"]) == ("FAILURE", "invalid_params")


def test_a_pool_that_cannot_honor_an_option_goes_on_without_the_change(make_project: Callable[..., Project]) -> None:
    plain = "jobs:\n  say: {task: 'work:say', kwargs: {word: one}}\n"
    project = make_project(plain, {"work.py": WORK})
    file = project.path / "jobs.d" / "jobs.yaml"
    with project.worker("-P", "threads", concurrency=2) as worker:
        file.write_text(plain.replace("word: one", "word: two"))
        worker.wait_for("jobs are reloaded: changed say")
        assert result_of(project, project.submit("say")) == ["two", None]
        file.write_text(plain.replace("{task", "{timeout: 5s, task"))
        worker.wait_for("job say declares timeout, which the thread pool cannot honor")
        assert result_of(project, project.submit("say")) == ["two", None]


def test_a_retry_goes_by_what_was_saved_meanwhile(make_project: Callable[..., Project]) -> None:
    retry = "retry: {max_retries: 50, delay: 1s, jitter: false}"
    failing = f"jobs:\n  say:\n    task: work:fail\n    {retry}\n"
    project = make_project(failing, {"work.py": WORK})
    with project.worker(concurrency=1) as worker:
        run_id = project.submit("say")
        project.wait_for_state(run_id, "RETRY")
        (project.path / "jobs.d" / "jobs.yaml").write_text(failing.replace("work:fail", "work:say"))
        worker.wait_for("jobs are reloaded: changed say")
        run = project.wait_for_state(run_id, "SUCCESS", "FAILURE")
        assert run["state"] == "SUCCESS"
        assert run["attempts"] >= 2


def test_params_that_do_not_fit_a_spec_that_just_came_are_not_failed_at_once(
    make_project: Callable[..., Project],
) -> None:
    whole = job("one", "params: {seconds: {type: number, default: 0}}")
    project = make_project(jobs(whole), {"work.py": WORK})
    file = project.path / "jobs.d" / "jobs.yaml"
    before = Opened.open(project.path)
    assert before.catalog.jobs
    with project.worker(concurrency=1) as worker:
        # As a slow writer leaves it for a while: what is there is sound, and not all.
        file.write_text(jobs(job("one")))
        worker.wait_for("jobs are reloaded: changed say")
        run_id = submit(before, "say", {"seconds": 0}, trigger="api").id
        worker.wait_for("its params do not fit say, which just changed")
        file.write_text(jobs(whole))
        run = project.wait_for_state(run_id, "SUCCESS", "FAILURE")
        assert (run["state"], run["attempts"], run["losses"]) == ("SUCCESS", 1, 0)


def test_defaults_of_the_project_are_followed(make_project: Callable[..., Project]) -> None:
    project = make_project("jobs:\n  say: {task: 'work:say'}\n", {"work.py": WORK})
    settings = project.path / "runner.yaml"
    with project.worker(concurrency=1) as worker:
        assert result_of(project, project.submit("say")) == ["none", None]
        settings.write_text(settings.read_text() + "defaults:\n  env: {WORD: default}\n")
        worker.wait_for("jobs are reloaded: changed say")
        assert result_of(project, project.submit("say")) == ["none", "default"]


def test_a_worker_starts_anew_when_its_code_changes(make_project: Callable[..., Project]) -> None:
    project = make_project(jobs(job("one")), {"work.py": WORK})
    with project.worker("--reload-code", concurrency=1) as worker:
        assert result_of(project, project.submit("say")) == ["one", "one"]
        pid = worker.pid
        (project.path / "work.py").write_text("def say(word):\n    return 'changed'\n")
        worker.wait_for("restarts when")
        assert result_of(project, project.submit("say")) == "changed"
        assert worker.pid == pid


def test_it_starts_anew_under_a_relative_path_too(make_project: Callable[..., Project]) -> None:
    project = make_project(jobs(job("one")), {"work.py": WORK})
    folder = project.path.parent
    words = [*COMMAND, "worker", "--project", project.path.name, "--reload-code", "-c", "1"]
    with Running(words, cwd=folder, env=clean_environment()) as worker:
        worker.wait_for("runner worker ready", 60.0)
        assert result_of(project, project.submit("say")) == ["one", "one"]
        (project.path / "work.py").write_text("def say(word):\n    return 'changed'\n")
        worker.wait_for("restarts when")
        assert result_of(project, project.submit("say")) == "changed"


CHANGES = 100


@pytest.mark.timeout(170)
def test_a_hundred_changes_under_load_fail_no_run(make_project: Callable[..., Project]) -> None:
    project = make_project("", {"work.py": WORK})
    folder = project.path / "jobs.d"
    chance = random.Random(20261123)
    versions = itertools.count()

    def content(name: str) -> str:
        version = next(versions)
        retry = "retry: {max_retries: 2, delay: 100ms}"
        options = (retry, "timeout: 60s", "params: {seconds: {type: number, default: 0}}")
        return jobs(*(job(f"v{version}", *options, name=f"{name}-{index}") for index in range(3)))

    files = {name: folder / f"{name}.yaml" for name in ("a", "b", "c", "d")}
    for name, path in files.items():
        path.write_text(content(name))
    submitted: list[str] = []
    ended = threading.Event()

    first = Opened.open(project.path)
    assert len(first.catalog.jobs) == 12

    def submit_steadily() -> None:
        for number in itertools.count():
            if ended.wait(0.02):
                return
            name = f"{'abcd'[number % 4]}-{number % 3}"
            try:
                made = submit(Opened.open(project.path), name, {"seconds": 0}, trigger="api")
            except (UnknownJob, InvalidParams):
                # As the submitter sees the files, the job is gone, broken or not whole for a moment.
                made = submit(first, name, {"seconds": 0}, trigger="api")
            submitted.append(made.id)

    def edit(path: Path, text: str) -> None:
        path.write_text(text)

    def half_then_whole(path: Path, text: str) -> None:
        with path.open("w") as file:
            cut = chance.randrange(len(text))
            file.write(text[:cut])
            file.flush()
            os.fsync(file.fileno())
            time.sleep(chance.choice((0.0, 0.05, 0.3)))
            file.write(text[cut:])

    def delete_then_write(path: Path, text: str) -> None:
        path.unlink()
        time.sleep(chance.choice((0.0, 0.05, 0.3)))
        path.write_text(text)

    def break_then_mend(path: Path, text: str) -> None:
        path.write_text(text.replace("timeout: 60s", "timeout: 60", 1))
        time.sleep(chance.choice((0.0, 0.1)))
        by_rename(path, text)

    def add_then_delete(path: Path, text: str) -> None:
        beside = path.with_name(f"extra-{path.name}")
        by_rename(beside, jobs(job("extra", name=f"extra-{path.stem}")))
        path.write_text(text)
        beside.unlink()

    with project.worker(concurrency=2) as worker:
        thread = threading.Thread(target=submit_steadily, daemon=True)
        thread.start()
        try:
            changes = (edit, by_rename, half_then_whole, delete_then_write, break_then_mend, add_then_delete)
            for number in range(CHANGES):
                name, path = chance.choice(sorted(files.items()))
                changes[number % len(changes)](path, content(name))
            wait_until(lambda: len(submitted) > CHANGES, 60.0, "more runs are submitted than files changed")
        finally:
            ended.set()
            thread.join(30.0)
        assert len(submitted) > CHANGES
        ledger = project.ledger()
        try:
            wait_until(lambda: all(run.final for run in ledger.read(submitted)), 100.0, "all runs to end")
            assert {(run.state, run.reason) for run in ledger.read(submitted)} == {("SUCCESS", None)}
        finally:
            ledger.close()
        last = project.document(project.submit("a-0"))["spec_digest"]
        [expected] = [entry["digest"] for entry in project.cli("jobs", "--json").check().json if entry["name"] == "a-0"]
        assert last == expected
        assert "Traceback" not in worker.log


def test_what_a_submitter_may_not_choose_is_refused_each_time(make_project: Callable[..., Project]) -> None:
    project = make_project(jobs(job("one")), {"work.py": WORK + "\nfrom runner.tasks.shell import run as shell\n"})
    chosen = textwrap.dedent(
        """
        jobs:
          by-name: {task: "work:shell", params: {script: {type: string}, command: {}}, kwargs: {grace: 1s}}
          by-text: {task: "work:shell", params: {x: {}}, kwargs: {script: "echo ${params.x}"}}
          by-list: {task: "work:shell", params: {x: {}}, kwargs: {command: [sh, -ec, "${params.x}"]}}
        """
    )
    with project.worker(concurrency=1) as worker:
        # One child, which was forked before these jobs were there, and which imports what they name itself.
        by_rename(project.path / "jobs.d" / "more.yml", chosen)
        worker.wait_for("jobs are reloaded: added")
        for name, param in (("by-name", "script"), ("by-text", "x"), ("by-list", "x")) * 2:
            run_id = project.submit(name, "-p", f"{param}=touch PWNED")
            document = project.wait_for_state(run_id, "SUCCESS", "FAILURE", "REVOKED")
            assert (document["state"], document["reason"]) == ("FAILURE", "import_error")
        assert result_of(project, project.submit("say")) == ["one", "one"]
    assert not (project.path / "PWNED").exists()


def test_a_changed_step_is_a_changed_job_of_its_own(make_project: Callable[..., Project]) -> None:
    steps = "  flow: {steps: {first: {task: 'work:say'}, load: {task: 'work:say', kwargs: {word: one}}}}\n"
    project = make_project(jobs(job("one"), steps), {"work.py": WORK})
    file = project.path / "jobs.d" / "jobs.yaml"
    with project.worker(concurrency=1) as worker:
        assert result_of(project, project.submit("say")) == ["one", "one"]
        file.write_text(jobs(job("one"), steps.replace("word: one", "word: two")))
        worker.wait_for("jobs are reloaded: changed flow, flow/load")
        file.write_text(jobs(job("one"), steps.replace("load:", "loads:")))
        worker.wait_for("jobs are reloaded: added flow/loads; changed flow; removed flow/load")
        assert result_of(project, project.submit("say")) == ["one", "one"]
        file.write_text(jobs(job("one"), "  flow: {task: 'work:say'}\n"))
        worker.wait_for("jobs are reloaded: changed flow; removed flow/first, flow/loads")
        assert result_of(project, project.submit("flow")) == ["none", None]
