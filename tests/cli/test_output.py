"""What goes where: data to stdout, words to stderr; quiet, JSON, tables, closed pipes, poor locales."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import COMMAND, Project, clean_environment

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def in_terminal(project: Project, *words: str, env: dict[str, str] | None = None) -> str:
    """Run a command whose stdout and stderr are a terminal; return what it wrote there."""
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


def test_submit_prints_the_id_and_nothing_else(served: Project) -> None:
    done = served.cli("submit", "hello").check()
    assert re.fullmatch(UUID + "\n", done.stdout)
    assert done.stderr == ""


def test_wait_tells_each_change_on_stderr(served: Project) -> None:
    done = served.cli("submit", "hello", "--wait").check()
    assert re.fullmatch(UUID + "\n", done.stdout)
    assert re.search(r"^SUCCESS .*hello", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("verb", ["runs", "jobs", "stats", "workers", "queues", "upcoming", "audit"])
def test_a_list_has_the_same_documents_as_an_array_and_line_by_line(served: Project, verb: str) -> None:
    def steady(each: dict[str, object]) -> dict[str, object]:
        # Runs go on, and workers breathe, between the two.
        return {key: each.get(key) for key in ("id", "job", "name", "act", "slot", "task", "pid")}

    served.cli("submit", "hello", "--wait").check()
    array = served.cli(verb, "--json").check().json
    lines = [json.loads(line) for line in served.cli(verb, "--jsonl").check().stdout.splitlines()]
    assert [steady(each) for each in lines] == [steady(each) for each in array]
    assert [each.keys() for each in lines] == [each.keys() for each in array]
    assert "--json and --jsonl each say what to print" in served.cli(verb, "--json", "--jsonl").check(2).stdout


def test_quiet_success_is_silent(served: Project) -> None:
    done = served.cli("submit", "hello", "--wait", "--quiet").check()
    assert (done.stdout, done.stderr) == ("", "")
    done = served.cli("submit", "unserved", "--quiet").check()
    assert (done.stdout, done.stderr) == ("", "")


def test_quiet_failure_says_all_that_a_cron_mail_needs(served: Project) -> None:
    done = served.cli("submit", "fails", "--wait", "--quiet").check(1)
    assert done.stdout == ""
    run_id = re.search(UUID, done.stderr)[0]
    for part in ("fails", "FAILURE", "exception", "ValueError", "the coffee is out", "clijobs.py"):
        assert part in done.stderr
    command = done.stderr.rstrip().splitlines()[-1].removeprefix("more: ")
    assert command == shlex.join(["runner", "status", run_id, "--project", str(served.path)])
    words = shlex.split(command)[1:]
    assert "the coffee is out" in served.cli(*words, cwd=served.path.parent).check().stdout


def test_a_queue_without_a_worker_is_named(served: Project) -> None:
    done = served.cli("submit", "unserved").check()
    assert "queue unserved" in done.stderr
    assert "-Q unserved" in done.stderr


def test_a_key_gives_the_first_run(project: Project) -> None:
    first = project.cli("submit", "unserved", "--key", "same", "--json").check().json
    assert first["duplicate"] is False
    done = project.cli("submit", "unserved", "--key", "same").check()
    assert done.id == first["id"]
    assert "submitted before" in done.stderr
    assert project.cli("submit", "unserved", "--key", "same", "--json").check().json["duplicate"] is True
    project.cli("submit", "hello", "--key", "k", "-p", "name=a", "--queue", "unserved").check()
    conflict = project.cli("submit", "hello", "--key", "k", "-p", "name=b", "--json").check(2)
    assert conflict.json["error"]["code"] == "key_conflict"


def test_params_from_everywhere(project: Project) -> None:
    (project.path / "given.json").write_text('{"name": "file", "count": 3}')
    where = ("--queue", "unserved", "--json")
    submit = ("submit", "hello", *where)
    assert project.cli(*submit, "--params", '{"name": "a"}').check().json["params"]["name"] == "a"
    given = project.cli(*submit, "--params", "@given.json", "-p", "count=4").check().json["params"]
    assert given == {"name": "file", "count": 4}
    given = project.cli(*submit, "--params", "-", input='{"words": [1, null, "x"]}').check().json["params"]
    assert given == {"name": "world", "words": [1, None, "x"]}


def test_options_of_a_submission(project: Project) -> None:
    words = ("--at", "2099-11-24 02:00", "--expires", "1h", "--priority", "9", "--queue", "unserved", "--json")
    document = project.cli("submit", "hello", *words).check().json
    assert document["eta"] == "2099-11-24T01:00:00.000Z"  # the project's zone is Europe/Berlin
    assert document["expires_at"] == "2099-11-24T02:00:00.000Z"
    assert document["priority"] == 9
    assert "scheduled" in document["detail"]


def test_a_start_that_no_calendar_has_is_refused(project: Project) -> None:
    done = project.cli("submit", "unserved", "--at", "9999-12-31T23:59:59Z", "--expires", "1h").check(2)
    assert "the next hundred years" in done.stderr
    project.cli("runs", "--job", "unserved", env={"TZ": "Asia/Tokyo"}).check()


def test_runs_lists_newest_first(project: Project) -> None:
    ids = [project.submit("speaks", "--queue", "unserved") for _ in range(3)]
    listed = project.cli("runs", "--job", "speaks", "--ids").check().stdout.split()
    assert listed == ids[::-1]
    assert project.cli("runs", "--job", "speaks", "--ids", "--limit", "1").check().stdout.split() == ids[2:]
    documents = project.cli("runs", "--job", "speaks", "--json").check().json
    assert [each["id"] for each in documents] == listed
    lines = project.cli("runs", "--job", "speaks", "--jsonl").check().stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == listed
    assert project.cli("runs", "--job", "speaks", "--state", "success", "--ids").check().stdout == ""
    assert project.cli("runs", "--job", "speaks", "--state", "pending", "--since", "1h", "--ids").check().stdout
    text = project.cli("runs", "--job", "speaks", "--utc").check().stdout.splitlines()
    assert text[0].split()[:3] == ["SUBMITTED", "ID", "JOB"]
    assert "+00:00" in text[1]
    assert ids[2] in text[1]
    assert project.document(ids[0][:8])["id"] == ids[0]
    assert project.cli("status", "@speaks", "--json").check().json["id"] == ids[2]
    both = project.cli("status", ids[0], ids[1], "--json").check().json
    assert [each["id"] for each in both] == ids[:2]


@pytest.mark.parametrize("verb", ["status", "wait", "revoke", "forget", "rerun"])
def test_json_of_several_holds_the_error_of_each(served: Project, verb: str) -> None:
    run_id = served.cli("submit", "hello", "--wait").check().id
    done = served.cli(verb, run_id, "0" * 36, "--json").check(4)
    assert [next(iter(each)) for each in done.json] == ["id", "error"]
    assert done.json[1]["error"]["hint"] == f"runner --project {served.path} runs lists what is known"


def test_closed_pipe_is_silent_and_keeps_the_exit_code(project: Project) -> None:
    project.submit("unserved")
    words = shlex.join([*COMMAND, "runs", "--jsonl", "--limit", "1000"])
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {words} | true"],
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
    words = shlex.join([*COMMAND, "submit", "unserved", *form])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} > /dev/full"], cwd=project.path, env=clean_environment(), stderr=-1, text=True
    )
    assert done.returncode == 70
    assert "error: the output cannot be written: No space left on device" in done.stderr
    assert project.document(re.search(f"run ({UUID}) is submitted", done.stderr)[1])["job"] == "unserved"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_disk_under_stderr_changes_no_outcome(served: Project) -> None:
    for job, code in (("hello", 0), ("fails", 1)):
        words = shlex.join([*COMMAND, "submit", job, "--wait"])
        done = subprocess.run(
            ["/bin/sh", "-c", f"{words} 2> /dev/full"], cwd=served.path, env=clean_environment(), stdout=-1, text=True
        )
        assert done.returncode == code
        assert re.fullmatch(UUID + "\n", done.stdout)


def test_closed_standard_streams(project: Project) -> None:
    words = shlex.join([*COMMAND, "submit", "unserved"])
    done = subprocess.run(["/bin/sh", "-c", f"{words} >&- 2>&- <&-"], cwd=project.path, env=clean_environment())
    assert done.returncode == 0


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_poor_locales(served: Project, locale: dict[str, str]) -> None:
    done = served.cli("submit", "hello", "-p", "name=Zoë…", "--wait", "--json", env=locale).check()
    assert done.json["result"]["greeting"] == "Hello, Zoë…!"
    served.cli("status", done.json["id"], env=locale).check()
    served.cli("runs", env=locale).check()
    served.cli("--help", env=locale).check()


def test_words_that_are_no_utf8(project: Project) -> None:
    words = [sys.executable, "-m", "runner", "submit", "hello", "-p", b"name=\xff"]
    done = subprocess.run(words, cwd=project.path, env=clean_environment(), capture_output=True)
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr


def test_a_terminal_gets_tables_colours_and_progress(served: Project) -> None:
    shown = in_terminal(served, "submit", "hello", "--wait")
    assert "SUCCESS" in shown
    assert "\x1b[" in shown
    listed = in_terminal(served, "runs")
    assert "\x1b[" in listed
    assert "SUCCESS" in listed
    assert "\x1b[3" not in in_terminal(served, "runs", env={"NO_COLOR": "1"})
    assert "\x1b[" not in in_terminal(served, "runs", env={"TERM": "dumb"})
    in_terminal(served, "jobs")
    in_terminal(served, "status", "@hello")


def test_jobs(project: Project) -> None:
    text = project.cli("jobs").check().stdout
    assert re.search(r"^disabled +clijobs:hello +default +no", text, re.MULTILINE)
    document = project.cli("jobs", "hello", "--json").check().json
    assert document["name"] == "hello"
    assert document["params"]["name"] == {"type": "string", "default": "world"}
    assert project.cli("jobs", "hello").check().stdout.startswith("# jobs.d/jobs.yaml, line 2\nhello:\n")


def test_validate(project: Project, tmp_path: object) -> None:
    done = project.cli("validate").check()
    assert (done.stdout, done.stderr) == ("", "")
    broken = project.path / "broken.yaml"
    broken.write_text("jobs:\n  x:\n    task: a:b\n    timeout: 30\n    retry: {max_retires: 3}\n")
    done = project.cli("validate", "broken.yaml").check(2)
    assert done.stdout.splitlines() == [
        "broken.yaml:4:14: jobs.x.timeout: 30 has no unit, write 30s, 30m or 30h",
        "    4 |     timeout: 30",
        "      |              ^",
        "      = expected: duration, 100ms or more, such as `15m`",
        "      = fix: write 30s, 30m or 30h",
        "broken.yaml:5:13: jobs.x.retry.max_retires: unknown option, did you mean max_retries?",
        "    5 |     retry: {max_retires: 3}",
        "      |             ^",
        "      = expected: one of `max_retries`, `delay`, `backoff`, `max_delay`, `jitter`, `for`, `not_for`",
        "      = fix: retry: {max_retries: 3}",
    ]
    assert done.stderr == "2 problems in 1 file\n"
    found = project.cli("validate", "broken.yaml", "--json").check(2).json
    assert [each["line"] for each in found["problems"]] == [4, 5]
    assert (found["jobs"], found["files"]) == (0, 1)


@pytest.mark.parametrize("which", ["jobs", "runner"])
def test_schema(project: Project, which: str) -> None:
    assert "2020-12" in json.loads(project.cli("schema", which).check().stdout)["$schema"]
