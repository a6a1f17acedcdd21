"""What a run writes is kept: all of it, in order, by attempt, bounded, whatever becomes of the process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from runner.attempt.capture.wire import BEGIN, mark
from runner.ledger.run_log import RunLog
from runner.model.log_line import LogLine
from tests.support.deadline import wait_until
from tests.support.project import Project
from tests.support.work import FILES, JOBS, Work


def log_of(work: Work, run_id: str) -> list[LogLine]:
    return list(RunLog(work.opened.ledger, run_id).lines())


def texts(work: Work, run_id: str) -> list[str]:
    return [line.text for line in log_of(work, run_id)]


def test_everything_that_a_run_writes_is_kept_in_order(work: Work) -> None:
    run = work.run("writes")
    lines = log_of(work, run.id)
    assert [line.text for line in lines] == [
        "printed",
        "a warning\nof two lines",
        "from a shell",
        "to stderr",
        "from C",
        "half a line",
    ]
    assert [line.level for line in lines] == [None, "WARNING", None, None, None, None]
    assert {line.attempt for line in lines} == {1}
    assert [line.at for line in lines] == sorted(line.at for line in lines)


def test_who_sees_the_end_of_a_run_sees_its_whole_log(work: Work) -> None:
    for _ in range(20):
        run = work.run("many-lines", count=3)
        assert [text.strip() for text in texts(work, run.id)] == ["0", "1", "2"]


def test_a_log_as_long_as_what_announces_it_is_kept_in_time(make_project: Callable[..., Project]) -> None:
    # The collector reads the beginning of an attempt while the job sleeps; as many bytes follow.
    announced = mark(b"\x1e" + b"0" * 16 + b":", BEGIN, ["0" * 36, "as-long", 1, []])
    code = f"""import os, time
def write():
    time.sleep(0.3)
    os.write(1, b"x" * {len(announced) - 1} + b"\\n")
"""
    project = make_project({"as-long": {"task": "aslong:write"}}, {"aslong.py": code})
    with project.worker(), closing(project.ledger()) as ledger:
        for _ in range(8):
            run_id = project.submit("as-long")
            project.wait_for_state(run_id, "SUCCESS")
            assert [len(line.text) for line in RunLog(ledger, run_id).lines()] == [len(announced) - 1]


def test_a_record_that_is_no_text_keeps_no_other_log_from_being_kept(work: Work) -> None:
    run = work.run("logs-the-name-of-a-file")
    assert texts(work, run.id) == ["caf\\udce9.txt"]
    for _ in range(6):
        assert texts(work, work.run("many-lines", count=1).id) == ["0".rjust(20)]


def test_the_last_words_of_a_killed_process_are_kept(work: Work, notes: Path) -> None:
    run = work.run("last-words", notes=str(notes))
    assert run.reason == "poisoned"
    assert texts(work, run.id) == ["last words"]


def test_what_was_written_before_a_timeout_is_kept(work: Work) -> None:
    run = work.run("late-words")
    assert run.reason == "timeout"
    assert texts(work, run.id) == ["before the timeout"]


def test_attempts_are_told_apart(work: Work) -> None:
    run = work.run("tells-attempt")
    assert [(line.attempt, line.text) for line in log_of(work, run.id)] == [(1, "attempt 1"), (2, "attempt 2")]


def test_of_a_long_log_head_and_tail_are_kept_and_the_cut_is_marked(work: Work) -> None:
    run = work.run("many-lines", count=20_000)
    lines = log_of(work, run.id)
    numbers = [int(line.text) for line in lines if not line.cut]
    [cut] = [line.cut for line in lines if line.cut]
    assert numbers[0] == 0
    assert numbers[-1] == 19_999
    assert len(numbers) + cut == 20_000
    assert len(numbers) <= 1000
    client, key = work.opened.ledger.client, f"{work.opened.ledger.namespace}:log:{run.id}"
    assert (client.memory_usage(key) or 0) < 2 * 64 * 1024


def test_a_log_is_bounded_by_bytes_too(work: Work) -> None:
    run = work.run("many-lines", count=500, length=1000)
    lines = log_of(work, run.id)
    assert sum(len(line.text) for line in lines) <= 64 * 1024
    assert sum(line.cut or 1 for line in lines) == 500


@pytest.mark.parametrize("character", ["x", "漢", "🎉", "\0"])
def test_a_log_is_bounded_whatever_is_written(work: Work, character: str) -> None:
    run = work.run("many-words", character=character, count=1000)
    lines = log_of(work, run.id)
    assert lines[0].text == character * 100
    assert lines[-1].text == "the end"
    assert sum(len(line.text.encode()) for line in lines) <= 64 * 1024
    client, key = work.opened.ledger.client, f"{work.opened.ledger.namespace}:log:{run.id}"
    assert (client.memory_usage(key) or 0) < 2 * 64 * 1024


def test_what_redis_does_not_take_as_text_stops_no_log(work: Work) -> None:
    assert texts(work, work.run("logs-a-name").id) == ["cannot read b\\udce4r.csv"]
    assert texts(work, work.run("many-lines", count=1, length=1).id) == ["0"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("closed", ["before"]),
        ("replaced", ["before"]),
        ("shut", ["before", "after"]),
        ("logging", ["before", "mine: after"]),
    ],
)
def test_what_a_job_does_to_its_streams_is_no_other_runs_trouble(work: Work, how: str, told: list[str]) -> None:
    assert texts(work, work.run("spoils", how=how).id) == told
    for _ in range(4):  # each process has had its turn
        assert texts(work, work.run("writes").id)[:2] == ["printed", "a warning\nof two lines"]


def test_a_job_cannot_write_into_the_log_of_another_run(work: Work) -> None:
    victim = work.run("shared")
    run = work.run("forges", run_id=victim.id)
    assert texts(work, victim.id) == []
    assert texts(work, run.id)[-1] == "not theirs"


def test_a_run_that_writes_nothing_has_no_log(work: Work) -> None:
    run = work.run("shared")
    assert not work.opened.ledger.client.exists(f"{work.opened.ledger.namespace}:log:{run.id}")


def test_a_log_goes_with_its_run(work: Work) -> None:
    run = work.run("writes")
    work.opened.ledger.forget(run.id)
    assert not work.opened.ledger.client.exists(f"{work.opened.ledger.namespace}:log:{run.id}")


def test_a_log_can_be_followed_to_its_end(work: Work) -> None:
    handle = work.submit("many-lines", count=2000)
    followed: list[LogLine] = []
    thread = threading.Thread(target=lambda: followed.extend(RunLog(work.opened.ledger, handle.id).follow()))
    thread.start()
    thread.join(60.0)
    assert not thread.is_alive()
    assert sum(line.cut or 1 for line in followed) == 2000
    assert int(followed[-1].text) == 1999


def test_the_worker_log_names_job_run_and_attempt(make_project: Callable[..., Project]) -> None:
    jobs = {name: JOBS[name] for name in ("writes", "shared")}
    project = make_project(jobs, FILES)
    with project.worker() as worker:
        run_id = project.cli("submit", "writes", "--wait").check().id
        worker.wait_for(rf"OUTPUT/writes {run_id[:8]}#1\] from C", 20.0)
        worker.wait_for(rf"WARNING/writes {run_id[:8]}#1\] a warning$", 20.0)
        worker.wait_for(rf"WARNING/writes {run_id[:8]}#1\] of two lines$", 20.0)
        worker.wait_for(rf"INFO/writes {run_id[:8]}\] Task .* received", 20.0)
        worker.wait_for(rf"INFO/writes {run_id[:8]}#1\] Task .* succeeded", 20.0)


def test_the_worker_log_as_json(make_project: Callable[..., Project]) -> None:
    project = make_project({"writes": JOBS["writes"]}, FILES)
    with project.start("worker", "--log-format", "json") as worker:
        worker.wait_for("runner worker ready", 20.0)
        run_id = project.cli("submit", "writes", "--wait").check().id

        def told() -> list[dict[str, object]]:
            lines = [json.loads(line) for line in worker.stderr.splitlines() if line.startswith("{")]
            return [line for line in lines if line.get("run") == run_id]

        wait_until(lambda: any(line["message"] == "from C" for line in told()), 20.0, "the run's lines come")
        [line] = [line for line in told() if line["message"] == "from C"]
        assert (line["job"], line["attempt"]) == ("writes", 1)
        wait_until(lambda: any("succeeded" in str(line["message"]) for line in told()), 20.0, "Celery's lines too")
        [line] = [line for line in told() if "succeeded" in str(line["message"])]
        assert (line["job"], line["attempt"]) == ("writes", 1)


def test_the_worker_log_names_a_run_that_died(make_project: Callable[..., Project]) -> None:
    project = make_project({"late-words": JOBS["late-words"]}, FILES)
    with project.worker() as worker:
        run_id = project.cli("submit", "late-words", "--wait").check(1).id
        worker.wait_for(rf"ERROR/late-words {run_id[:8]}\] run {run_id} .*timeout", 20.0)


BAR = """
import subprocess, sys, time
from pathlib import Path


def quick():
    for number in range(101):
        print(f"{number}%", end="\\r")
    print()
    print("done")


def slow(gate, shell):
    code = f"printf '10%%\\\\r20%%\\\\r'; while [ ! -e {gate} ]; do sleep 0.05; done; printf '30%%\\\\r\\\\n'"
    if shell:
        subprocess.run(["sh", "-c", code], check=True)
        return
    for number in (10, 20):
        print(f"\\r{number}%", end="")
    while not Path(gate).exists():
        time.sleep(0.05)
    print("\\r30%")
"""


def test_of_a_progress_bar_the_latest_state_is_shown_while_it_is_drawn(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    params = {"gate": {"type": "string"}, "shell": {"type": "boolean"}}
    project = make_project(
        {"quick": {"task": "bar:quick"}, "slow": {"task": "bar:slow", "params": params}}, {"bar.py": BAR}
    )
    with project.worker(), closing(project.ledger()) as ledger:

        def lines(run_id: str) -> list[str]:
            return [line.text for line in RunLog(ledger, run_id).lines()]

        run_id = project.submit("quick")
        project.wait_for_state(run_id, "SUCCESS")
        assert lines(run_id)[-2:] == ["100%", "done"]
        assert len(lines(run_id)) < 10
        for shell in ("true", "false"):
            gate = tmp_path / f"gate-{shell}"
            run_id = project.submit("slow", "-p", f"gate={gate}", "-p", f"shell={shell}")
            wait_until(lambda run_id=run_id: lines(run_id) == ["20%"], 30.0, "the bar is shown")  # type: ignore[misc]
            gate.touch()
            project.wait_for_state(run_id, "SUCCESS")
            assert lines(run_id) == ["20%", "30%"]
