"""``runner submit --params-file``: many runs by one command, and where to go on when it ends early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cli.counting import FILES, JOBS, lines, numbers, submit
from tests.fault.server import RedisServer
from tests.support.deadline import wait_until
from tests.support.project import COMMAND, Project, clean_environment, write_project
from tests.support.proxy import Proxy
from tests.support.running import Running


def known(project: Project) -> dict[str, Any]:
    """Return the param ``n`` of all runs by their ids."""
    ledger = project.ledger()
    try:
        return {run.id: run.params.get("n") for run in ledger.runs(limit=10_000)}
    finally:
        ledger.close()


def test_a_run_for_each_line_and_the_ids_in_their_order(counting: Project) -> None:
    (counting.path / "runs.jsonl").write_text(numbers(range(1100)))
    done = counting.cli("submit", "count", "--params-file", "runs.jsonl").check()
    held = known(counting)
    assert [held[run_id] for run_id in done.stdout.split()] == list(range(1100))
    assert "runs submitted" not in done.stderr


def test_blank_lines_and_a_missing_line_break_are_fine(counting: Project) -> None:
    done = submit(counting, '﻿{"n": 1}\r\n\n  \n{"n": 2}\n\n{"n": 3}')
    held = known(counting)
    assert [held[run_id] for run_id in done.stdout.split()] == [1, 2, 3]
    assert submit(counting, "").stdout == ""


BAD = {
    "{": "is not JSON",
    "[1]": "is not a JSON object",
    "null": "is not a JSON object",
    '{"n": "one"}': "n: ",
    '{"m": 1}': "m: is not declared",
    '{"n": 1, "n": 2}': "given twice",
    '{"n": NaN}': "is not JSON",
}


def test_bad_lines_are_told_by_number_and_stop_nothing(counting: Project) -> None:
    text = "\n" + "".join(f'{bad}\n{{"n": {n}}}\n' for n, bad in enumerate(BAD)) + "\udcff\n"
    done = subprocess.run(
        [*COMMAND, "submit", "count", "--params-file", "-"],
        cwd=counting.path,
        env=clean_environment(),
        input=text.encode("utf-8", "surrogateescape"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2
    held = known(counting)
    assert [held[run_id] for run_id in done.stdout.decode().split()] == list(range(len(BAD)))
    errors = [line for line in done.stderr.decode().splitlines() if line.startswith("error: ")]
    for at, (line, message) in enumerate(zip(errors, [*BAD.values(), "is not UTF-8"], strict=True)):
        assert line.startswith(f"error: line {2 + 2 * at}: ")
        assert message in line
    assert f"8 lines were refused; runs submitted: {len(BAD)}" in done.stderr.decode()


def test_a_line_without_end_is_refused_and_not_held(counting: Project) -> None:
    script = counting.path / "long.py"
    # Twice what a line may be: read, and thrown away as it comes.
    script.write_text("w = print\nw('{\"n\": 1}')\nfor _ in range(130): w('x' * 2**20, end='')\nw('\\n{}')\n")
    line = f"{sys.executable} {script} | {' '.join(COMMAND)} submit count --params-file -"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=counting.path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "error: line 2: is too long" in done.stderr
    assert sorted(known(counting).values(), key=str) == [1, None]


def test_params_that_all_lines_share(counting: Project) -> None:
    text = lines({"n": 1}, {"name": "line"}, {})
    done = submit(counting, text, "--params", '{"name": "shared", "n": 7}', "-p", "n=9")
    documents = [counting.document(run_id)["params"] for run_id in done.stdout.split()]
    assert documents == [{"n": 9, "name": "shared"}, {"n": 9, "name": "line"}, {"n": 9, "name": "shared"}]


def test_options_hold_for_all_lines(counting: Project) -> None:
    done = submit(counting, numbers(range(2)), "--in", "1h", "--queue", "other", "--priority", "9", "--expires", "1m")
    for run_id in done.stdout.split():
        run = counting.document(run_id)
        assert (run["queue"], run["priority"], run["trigger"]) == ("other", 9, "cli")
        assert run["eta"] < run["expires_at"]
    assert done.stderr.count("no live worker takes runs from queue other") == 1


def test_keys_from_a_param_make_each_run_once(counting: Project) -> None:
    text = lines({"n": 1, "name": "a"}, {"n": 2, "name": "b"}, {"n": 1, "name": "a"}, {"n": 3, "name": "a"}, {"n": 4})
    done = submit(counting, text, "--key-from", "name", code=2)
    first, second, third = done.stdout.split()
    assert first == third
    assert known(counting) == {first: 1, second: 2}
    assert "error: line 4: key 'a' of count was used with other params" in done.stderr
    assert "error: line 5: has no name" in done.stderr
    assert "1 line was submitted before" in done.stderr
    again = submit(counting, text, "--key-from", "name", code=2)
    assert again.stdout == done.stdout
    assert "3 lines were submitted before" in again.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--params-file - --key k", "--key-from PARAM"),
        ("--key-from n", "--key-from needs --params-file"),
        ("--params-file - --params -", "both read stdin"),
        ("--params-file - --timeout 1m", "--timeout needs --wait"),
        ("--params-file - --key-from nn", "did you mean n?"),
        ("--params-file - -p m=1", "m: is not declared"),
        ("--params-file missing.jsonl", "missing.jsonl cannot be read: No such file"),
        ("--params-file .", "cannot be read: Is a directory"),
    ],
)
def test_what_does_not_go_together_submits_nothing(counting: Project, words: str, told: str) -> None:
    done = counting.cli("submit", "count", *words.split(), input=numbers(range(2))).check(2)
    assert told in done.stderr
    assert done.stdout == ""
    assert known(counting) == {}


def test_a_disabled_job_reads_no_line(counting: Project) -> None:
    done = counting.cli("submit", "off", "--params-file", "-", input=numbers(range(2))).check(5)
    assert done.stderr.startswith("error: job off is disabled")


def test_json_is_an_array_of_runs_and_errors(counting: Project) -> None:
    done = submit(counting, lines({"n": 1}, {"n": "x"}, {"n": 2}), "--json", "--key-from", "n", code=2)
    first, bad, last = done.json
    assert (first["line"], first["state"], first["params"], first["duplicate"]) == (1, "PENDING", {"n": 1}, False)
    assert (bad["line"], bad["error"]["code"]) == (2, "invalid_params")
    assert last["line"] == 3
    assert submit(counting, "", "--json").json == []


def test_quiet_prints_nothing_unless_a_line_is_refused(counting: Project) -> None:
    done = submit(counting, numbers(range(2)), "--quiet")
    assert (done.stdout, done.stderr) == ("", "")
    done = submit(counting, lines({"n": "x"}), "--quiet", "--json", code=2)
    assert (done.stdout, "error: line 1: " in done.stderr) == ("", True)


def test_waiting_tells_how_all_ended(counting: Project) -> None:
    with counting.worker():
        done = submit(counting, numbers(range(30)), "--wait", "--timeout", "60s")
        assert len(done.stdout.split()) == 30
        assert done.stderr.splitlines()[-1] == "30 SUCCESS"
        done = submit(counting, numbers([1, -1, 2]), "--wait", "--json", code=1)
        assert [(run["line"], run["state"]) for run in done.json] == [(1, "SUCCESS"), (2, "FAILURE"), (3, "SUCCESS")]
        done = submit(counting, lines({"n": 1}, "x"), "--wait", "--quiet", code=2)
        assert done.stdout == ""


@contextmanager
def feeding(project: Project, *words: str) -> Iterator[tuple[Running, IO[str]]]:
    """Start a submission that reads from a pipe; yield it and the pipe's other end."""
    pipe = project.path / f"pipe-{uuid.uuid4().hex[:6]}"
    os.mkfifo(pipe)
    running = project.start("submit", "count", "--params-file", pipe, *words)
    with running, pipe.open("w", buffering=1) as feed:
        yield running, feed


def test_lines_are_submitted_as_they_come(counting: Project) -> None:
    with feeding(counting) as (running, feed):

        def printed(count: int) -> bool:
            return len(running.lines("out")) == count

        for n in range(3):
            feed.write(numbers([n]))
            wait_until(partial(printed, n + 1))
        feed.close()
        assert running.wait() == 0


def test_ctrl_c_says_where_to_go_on(counting: Project) -> None:
    with feeding(counting) as (running, feed):
        feed.write(numbers(range(700)))
        wait_until(lambda: len(running.lines("out")) == 700)
        running.signal(signal.SIGINT)
        assert running.wait() == 130
    assert "interrupted; runs submitted: 700; go on from line 701" in running.stderr
    assert len(known(counting)) == 700


def test_a_killed_command_is_simply_run_again(counting: Project) -> None:
    whole = counting.path / "runs.jsonl"
    whole.write_text(numbers(range(2000)))
    with feeding(counting, "--key-from", "n") as (running, feed):
        feed.write(numbers(range(900)))
        wait_until(lambda: len(running.lines("out")) >= 500)
        running.signal(signal.SIGKILL)
        running.wait()
    partly = len(known(counting))
    assert 500 <= partly <= 900
    again = counting.cli("submit", "count", "--params-file", "runs.jsonl", "--key-from", "n").check()
    held = known(counting)
    assert [held[run_id] for run_id in again.stdout.split()] == list(range(2000))
    assert len(held) == 2000
    assert f"{partly:,} lines were submitted before" in again.stderr


def test_a_reader_that_goes_away_does_not_stop_it(counting: Project) -> None:
    (counting.path / "runs.jsonl").write_text(numbers(range(1500)))
    line = f"{' '.join(COMMAND)} submit count --params-file runs.jsonl | head -n 1; echo done >&2"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=counting.path, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert len(done.stdout.split()) == 1
    assert "Traceback" not in done.stderr
    wait_until(lambda: len(known(counting)) == 1500)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_ends_it_and_says_where_to_go_on(counting: Project) -> None:
    (counting.path / "runs.jsonl").write_text(numbers(range(1500)))
    line = f"{' '.join(COMMAND)} submit count --params-file runs.jsonl > /dev/full"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=counting.path, env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert "runs submitted: 500; go on from line 501, with the same options: tail -n +501 runs.jsonl" in done.stderr
    assert len(known(counting)) == 500


def test_a_pause_ends_it(counting: Project) -> None:
    with feeding(counting) as (running, feed):
        feed.write(numbers(range(3)))
        wait_until(lambda: len(running.lines("out")) == 3)
        counting.cli("pause", "count").check()
        feed.write(numbers(range(3, 6)))
        feed.close()
        assert running.wait() == 5
    assert "error: job count was paused by" in running.stderr
    assert "runs submitted: 3; go on from line 4" in running.stderr
    assert len(known(counting)) == 3
    assert len(submit(counting, numbers(range(3)), "--force").stdout.split()) == 3


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_69_says_how_many_were_submitted(tmp_path: Path, words: tuple[str, ...]) -> None:
    with RedisServer(tmp_path) as server, Proxy(("127.0.0.1", server.port)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=1&socket_connect_timeout=1"
        project = write_project(tmp_path / "p", url, JOBS, FILES)
        with feeding(project, *words, "--key-from", "n") as (running, feed):
            feed.write(numbers(range(600)))
            wait_until(lambda: len(running.lines("out")) == 600)
            proxy.black_hole()
            feed.write(numbers(range(600, 700)))
            feed.close()
            assert running.wait() == 69
        output = running.stdout if words else running.stderr
        assert "runs submitted: 600; go on from line 601" in output
        assert "it is not known whether lines 601 to 700 were recorded" in output
        if words:
            assert json.loads(running.stdout)[-1]["error"]["exit_code"] == 69
        proxy.forward()
        again = submit(project, numbers(range(700)), "--key-from", "n")
        assert sorted(known(project).values()) == list(range(700))
        assert len(set(again.stdout.split())) == 700
