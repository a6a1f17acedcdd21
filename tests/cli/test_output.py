"""What goes where: data to stdout, words to stderr; quiet, JSON, tables, closed pipes, poor locales."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.jobs import FILES
from tests.support.project import COMMAND, Project, clean_environment

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def in_terminal(project: Project, *words: str, env: dict[str, str] | None = None) -> str:
    """Run a command whose stdout and stderr are a terminal; return its output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *words],
        cwd=project.path,
        env=clean_environment({"TERM": "xterm-256color", "COLUMNS": "140", **(env or {})}),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what Linux says at the end
            break
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait(60) == 0, written
    return written.decode()


@pytest.mark.parametrize("verb", ["runs", "jobs", "stats", "workers", "queues", "upcoming", "audit"])
def test_a_list_has_the_same_documents_as_an_array_and_line_by_line(served: Project, verb: str) -> None:
    def steady(document: dict[str, object]) -> dict[str, object]:
        # Runs go on, and workers breathe, between the two.
        return {key: document.get(key) for key in ("id", "job", "name", "act", "slot", "task", "pid")}

    served.cli("submit", "hello", "--wait").check()
    array = served.cli(verb, "--json").check().json
    lines = [json.loads(line) for line in served.cli(verb, "--jsonl").check().stdout.splitlines()]
    assert [steady(document) for document in lines] == [steady(document) for document in array]
    assert [document.keys() for document in lines] == [document.keys() for document in array]
    assert "--json and --jsonl cannot be combined" in served.cli(verb, "--json", "--jsonl").check(2).stdout


def test_quiet_success_is_silent(served: Project) -> None:
    done = served.cli("submit", "hello", "--wait", "--quiet").check()
    assert (done.stdout, done.stderr) == ("", "")
    done = served.cli("submit", "unserved", "--quiet").check()
    assert (done.stdout, done.stderr) == ("", "")


def test_quiet_failure_says_all_that_a_cron_mail_needs(served: Project) -> None:
    done = served.cli("submit", "fails", "--wait", "--quiet").check(1)
    assert done.stdout == ""
    named = re.search(UUID, done.stderr)
    assert named is not None
    run_id = named[0]
    for part in ("fails", "FAILURE", "exception", "ValueError", "the coffee is out", "clijobs.py"):
        assert part in done.stderr
    command = done.stderr.rstrip().splitlines()[-1].removeprefix("more: ")
    assert command == shlex.join(["runner", "status", run_id, "--project", str(served.path)])
    words = shlex.split(command)[1:]
    assert "the coffee is out" in served.cli(*words, cwd=served.path.parent).check().stdout


@pytest.mark.parametrize("verb", ["status", "wait", "revoke", "forget", "rerun"])
def test_json_of_several_holds_the_error_of_each(served: Project, verb: str) -> None:
    run_id = served.cli("submit", "hello", "--wait").check().id
    done = served.cli(verb, run_id, "0" * 36, "--json").check(4)
    assert [next(iter(document)) for document in done.json] == ["id", "error"]
    assert done.json[1]["error"]["hint"] == f"runner --project {served.path} runs lists what is known"


def test_closed_pipe_is_silent_and_keeps_the_exit_code(project: Project) -> None:
    project.submit("unserved")
    command = shlex.join([*COMMAND, "runs", "--jsonl", "--limit", "1000"])
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command} | true"],
        cwd=project.path,
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_full_disk_under_stdout_is_told_with_the_id(project: Project, form: list[str]) -> None:
    command = shlex.join([*COMMAND, "submit", "unserved", *form])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command} > /dev/full"], cwd=project.path, env=clean_environment(), stderr=-1, text=True
    )
    assert done.returncode == 70
    assert "error: the output cannot be written: No space left on device" in done.stderr
    named = re.search(f"run ({UUID}) is submitted", done.stderr)
    assert named is not None
    assert project.document(named[1])["job"] == "unserved"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_disk_under_stderr_changes_no_outcome(served: Project) -> None:
    for job, code in (("hello", 0), ("fails", 1)):
        command = shlex.join([*COMMAND, "submit", job, "--wait"])
        done = subprocess.run(
            ["/bin/sh", "-c", f"{command} 2> /dev/full"], cwd=served.path, env=clean_environment(), stdout=-1, text=True
        )
        assert done.returncode == code
        assert re.fullmatch(UUID + "\n", done.stdout)


def test_closed_standard_streams(project: Project) -> None:
    command = shlex.join([*COMMAND, "submit", "unserved"])
    done = subprocess.run(["/bin/sh", "-c", f"{command} >&- 2>&- <&-"], cwd=project.path, env=clean_environment())
    assert done.returncode == 0


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_poor_locales(served: Project, locale: dict[str, str]) -> None:
    done = served.cli("submit", "hello", "-p", "name=Zoë…", "--wait", "--json", env=locale).check()
    assert done.json["result"]["greeting"] == "Hello, Zoë…!"
    served.cli("status", done.json["id"], env=locale).check()
    served.cli("runs", env=locale).check()
    served.cli("--help", env=locale).check()


def test_words_that_are_no_utf8(project: Project) -> None:
    words: list[str | bytes] = [sys.executable, "-m", "runner", "submit", "hello", "-p", b"name=\xff"]
    done = subprocess.run(words, cwd=project.path, env=clean_environment(), capture_output=True)
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr


def test_a_terminal_gets_tables_colors_and_progress(served: Project) -> None:
    shown = in_terminal(served, "submit", "hello", "--wait", env={"COLUMNS": "60"})
    run_id = re.search(UUID, shown)
    assert run_id is not None
    assert re.search(rf"SUCCESS   hello  {run_id[0][:8]}  after \d", shown)
    assert '= {"greeting": "Hello, world!", "words": []}\r\n' in shown
    long = in_terminal(served, "submit", "hello", "-p", f"name={'世' * 200}", "--wait", env={"COLUMNS": "60"})
    [result] = re.findall("(= .*)\r\n", long)
    assert (cell_len(result), result[-1]) == (60, "…")
    assert "=" not in served.cli("submit", "hello", "--wait").check().stderr
    followed = in_terminal(served, "watch", "@hello", env={"COLUMNS": "40", "NO_COLOR": "1"})
    assert re.search(r"^[\d-]* ?\d\d:\d\d:\d\d\S*  SUCCESS   hello  [0-9a-f]{1,8}…?\r\n$", followed)
    assert len(followed.strip()) <= 40
    explained = in_terminal(served, "why", "@hello")
    assert re.match(r"hello [0-9a-f]{8}: SUCCESS\r\n", explained)
    assert "\x1b[" in shown
    listed = in_terminal(served, "runs")
    assert "\x1b[" in listed
    assert "SUCCESS" in listed
    assert "\x1b[3" not in in_terminal(served, "runs", env={"NO_COLOR": "1"})
    assert "\x1b[" not in in_terminal(served, "runs", env={"TERM": "dumb"})
    in_terminal(served, "jobs")
    in_terminal(served, "status", "@hello")


def test_the_doctor_counts_what_it_does_not_list(make_project: Callable[..., Project]) -> None:
    sound = make_project({"hello": {"task": "clijobs:hello"}}, FILES)
    listed = [line for line in in_terminal(sound, "doctor", "--all").splitlines() if "ok\x1b" in line]
    assert in_terminal(sound, "doctor").strip() == f"{len(listed)} checks passed (runner doctor --all lists them)"
    assert len(sound.cli("doctor").check().stdout.splitlines()) == len(listed) + 1
