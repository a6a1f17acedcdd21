"""The stock shell task, with real commands: what it returns, what it says, and that nothing outlives it."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.current import CurrentRun, running
from runner.errors import InvalidParams
from runner.process import group as process_group
from runner.tasks import shell
from runner.tasks.output import LINE_LIMIT, Output
from runner.tasks.shell import RESERVED, ShellError, ShellStartError, run
from tests.support.deadline import wait_until
from tests.support.processes import is_dead

REPOSITORY = Path(__file__).parents[2]
DEADLINE = 20.0


def written(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("\n")


SoftTimeoutAfter = Callable[[Path], None]
StartJob = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def nothing_stays_guarded() -> Iterator[None]:
    yield
    assert not process_group._state.guarded


# What it returns


def test_command_returns_status_and_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(command=["echo", "hello world"]) == {
        "exit_status": 0,
        "output": "hello world\n",
        "output_truncated": False,
    }
    assert capfd.readouterr().out == "hello world\n"


def test_numbers_in_an_argument_list_are_text() -> None:
    command: Any = ["echo", 5]
    assert run(command=command)["output"] == "5\n"


def test_no_shell_reads_a_command() -> None:
    assert run(command=["echo", "$HOME; `id` * && false"])["output"] == "$HOME; `id` * && false\n"


def test_streams_are_one_in_the_order_written() -> None:
    assert run(script="echo one; echo two >&2; echo three")["output"] == "one\ntwo\nthree\n"


def test_script_is_read_by_sh_and_stops_at_the_first_failure() -> None:
    assert run(script="for i in 1 2; do\n  echo $i\ndone")["output"] == "1\n2\n"
    with pytest.raises(ShellError, match="exit status 1") as caught:
        run(script="echo before\nfalse\necho after")
    assert caught.value.output == "before\n"


def test_result_is_json() -> None:
    json.dumps(run(command=["echo", "ä"]))


def test_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inner").mkdir()
    assert run(command=["pwd"], cwd=str(tmp_path))["output"].strip() == os.path.realpath(tmp_path)
    monkeypatch.setenv("RUNNER_PROJECT", str(tmp_path))
    assert run(command=["pwd"])["output"].strip() == os.path.realpath(tmp_path)
    assert run(command=["pwd"], cwd="inner")["output"].strip() == os.path.realpath(tmp_path / "inner")


def test_standard_input_is_empty_or_the_text_given() -> None:
    assert run(command=["cat"])["output"] == ""
    text = "line ü\n" * 100_000
    assert run(command=["wc", "-c"], stdin=text)["output"].split() == [str(len(text.encode()))]
    assert run(command=["true"], stdin=text)["exit_status"] == 0


def test_command_has_no_terminal_and_leads_its_own_session() -> None:
    session, own = run(script="ps -o sid= -p $$; echo $$")["output"].split()
    assert session == own


def test_signals_ignored_by_a_pool_child_are_not_ignored_by_the_command() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(ShellError, match="SIGINT"):
            run(script="kill -INT $$")
    finally:
        signal.signal(signal.SIGINT, before)


def test_no_descriptor_of_the_worker_reaches_the_command() -> None:
    assert run(script="ls /proc/self/fd | wc -l" if sys.platform == "linux" else "echo 4")["output"].strip() == "4"


# Params and environment


def test_params_become_variables_and_nothing_else() -> None:
    evil = "$(touch /tmp/never); `id`\n'\" *"
    script = 'printf "%s|%s|%s|%s" "$PARAM_TEXT" "$PARAM_LIMIT" "$PARAM_TAGS" "$PARAM_ON"'
    result = run(script=script, text=evil, limit=5, tags=["ä", 1], on=True)
    assert result["output"] == f'{evil}|5|["ä", 1]|true'


def test_env_is_added_and_wins_over_params(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_WORKER", "worker")
    script = 'echo "$FROM_WORKER $MODE $PARAM_REGION"'
    assert run(script=script, env={"MODE": "full", "PARAM_REGION": "fixed"}, region="given")["output"] == (
        "worker full fixed\n"
    )


def test_path_of_env_finds_the_command(tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert run(command=["only-here"], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})["output"] == "found\n"


def test_command_knows_its_run() -> None:
    with running(CurrentRun(id="abc", job="disk-usage", attempt=2)):
        assert run(script='echo "$RUN_ID $RUN_JOB $RUN_ATTEMPT"')["output"] == "abc disk-usage 2\n"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_submitter_cannot_give_an_option(name: str) -> None:
    given: dict[str, Any] = {"command": ["true"], name: ["id"]}
    with (
        running(CurrentRun(id="abc", job="x", attempt=1, params={name: ["id"]})),
        pytest.raises(InvalidParams) as caught,
    ):
        run(**given)
    assert name in caught.value.message


def test_reserved_names_are_all_own_options() -> None:
    import inspect

    parameters = inspect.signature(run).parameters.values()
    assert vars(run)["reserved"] == {
        parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY
    }


def test_misspelt_option_is_not_taken_for_a_param() -> None:
    with (
        running(CurrentRun(id="abc", job="x", attempt=1, params={"day": "1"})),
        pytest.raises(ValueError, match=r"kwargs\.comand: unknown option, did you mean command\?"),
    ):
        run(script="true", comand=["ls"], day="1")


def test_params_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(InvalidParams, match="PARAM_DAY"):
        run(command=["true"], day="1", Day="2")


# What it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give either command"),
        ({"command": ["true"], "script": "true"}, "give either command"),
        ({"command": "ls -l"}, r"write \[ls, -l\], or use script"),
        ({"command": []}, "such as"),
        ({"command": ["a", True]}, "true is not text, put it in quotes"),
        ({"command": ["a", 1.1]}, "1.1 is not text, put it in quotes"),
        ({"command": ["a", None]}, "null is not text"),
        ({"script": ["a"]}, "script is text"),
        ({"command": ["true"], "env": {"A": True}}, "env.A: true is not text"),
        ({"command": ["true"], "grace": 5}, "5 has no unit, write 5s"),
        ({"command": ["true"], "grace": "soon"}, "not a duration"),
        ({"command": ["true"], "x": "a\0b"}, "PARAM_X: .* NUL"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_commands_that_cannot_start(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    odd = tmp_path / "odd"
    odd.write_text("#!/no/such/interpreter\n")
    odd.chmod(0o755)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\0\1\2")
    garbage.chmod(0o755)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"command": ["no-such-command"]}, "no-such-command: no such command on PATH"),
        ({"command": ["/no/such"]}, "/no/such: no such command"),
        ({"command": ["./no-such"], "cwd": str(tmp_path)}, f"./no-such: no such command in {tmp_path}"),
        ({"command": [str(plain)]}, "may not be run by this user"),
        ({"command": [str(odd)]}, "interpreter that is not there"),
        ({"command": [str(garbage)]}, "not a program"),
        ({"command": ["true"], "cwd": "/no/such"}, "cwd: there is no folder /no/such"),
        ({"command": ["true"], "cwd": str(plain)}, "cwd: there is no folder"),
        ({"command": ["true"], "x": "x" * 9_000_000}, "larger than the system allows"),
    ]
    for options, message in cases:
        with pytest.raises(ShellStartError) as caught:
            run(**options)
        assert message in str(caught.value)
        assert caught.value.exit_status is None


# How it fails


def test_failure_says_status_and_last_lines() -> None:
    with pytest.raises(ShellError) as caught:
        run(script="seq 1 100; echo 'disk full' >&2; exit 3")
    message = str(caught.value)
    assert message.startswith("the script ended with exit status 3; its last lines:\n82\n")
    assert message.endswith("\n100\ndisk full")
    assert caught.value.exit_status == 3


def test_silent_failure_says_so() -> None:
    with pytest.raises(ShellError) as caught:
        run(command=["false"])
    assert str(caught.value) == "false ended with exit status 1, and wrote nothing"


def test_signal_is_named() -> None:
    with pytest.raises(ShellError, match="the script was ended by SIGKILL") as caught:
        run(script="kill -KILL $$")
    assert caught.value.exit_status == -signal.SIGKILL
    with pytest.raises(ShellError, match="exit status 143, which shells give for SIGTERM"):
        run(script="exit 143")


def test_the_oom_killer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/system/test_cgroups.py has a real one."""
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 4\n")
    monkeypatch.setattr(shell, "counter_file", lambda: counter)
    for ending in ("kill -KILL $$", "exit 137"):
        with pytest.raises(ShellError, match="SIGKILL, sent by the kernel's OOM killer, and wrote nothing"):
            run(script=f"echo oom_kill $(($(cut -d' ' -f2 {counter}) + 1)) > {counter}; {ending}")
        with pytest.raises(ShellError, match="SIGKILL, and wrote nothing"):
            run(script=ending)


def test_error_survives_the_way_out_of_a_pool_child() -> None:
    error = pickle.loads(pickle.dumps(ShellError("said", 3, "out\n")))
    assert (str(error), error.exit_status, error.output) == ("said", 3, "out\n")


def test_lost_exit_status_is_not_a_success() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ShellError, match="exit status was lost"):
            run(command=["true"])
    finally:
        signal.signal(signal.SIGCHLD, before)


# Output


def test_flood_is_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(script="head -c 200000000 /dev/zero | tr '\\0' x; echo; echo end")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert result["output"] == "end\n"
    assert result["output_truncated"]
    assert grown < 20_000 * (1024 if sys.platform == "darwin" else 1)


def test_output_that_is_no_text_is_replaced() -> None:
    assert run(script=r"printf 'a\377b\n'")["output"] == "a�b\n"


def test_broken_standard_output_of_the_worker_is_not_the_jobs_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    assert run(command=["echo", "kept"])["output"] == "kept\n"
    monkeypatch.setattr(sys, "stdout", None)
    assert run(command=["echo", "kept"])["output"] == "kept\n"


def test_tail_starts_at_a_line() -> None:
    output = Output(10)
    output.feed(b"first\nsecond\nthird\n")
    assert output.tail() == "third\n"
    assert output.truncated


def test_tail_of_an_endless_line_starts_at_a_character(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output(5)
    output.feed("äöüß".encode())
    assert output.tail() == "üß"
    output.end()
    assert capfd.readouterr().out == "äöüß\n"


def test_lines_are_passed_on_whole_however_they_arrive(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output(100)
    for byte in "grün\nweiß".encode():
        output.feed(bytes([byte]))
    assert capfd.readouterr().out == "grün\n"
    output.feed(b"x" * (LINE_LIMIT + 1))
    assert len(capfd.readouterr().out) > LINE_LIMIT
    output.end()


def test_output_is_passed_on_while_the_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command waits for a file that only whoever reads its output makes."""

    class Reader:
        def write(self, text: str) -> None:
            if "go" in text:
                (tmp_path / "seen").touch()

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stdout", Reader())
    script = "echo go; while ! [ -e seen ]; do sleep 0.01; done; echo done"
    assert run(script=script, cwd=str(tmp_path))["output"] == "go\ndone\n"


# Nothing outlives it


def test_background_children_end_with_the_command(tmp_path: Path) -> None:
    child = "trap 'touch asked; exit' TERM; touch ready; while :; do sleep 0.01; done"
    script = f'sh -c "{child}" & echo $! > pid; while ! [ -e ready ]; do sleep 0.01; done; echo done'
    # A shell may add that its `sleep` was ended too.
    assert run(script=script, cwd=str(tmp_path))["output"].startswith("done\n")
    assert is_dead(int((tmp_path / "pid").read_text()))
    assert (tmp_path / "asked").exists(), "SIGTERM comes first"


def test_background_children_that_ignore_sigterm_are_killed(tmp_path: Path) -> None:
    script = "(trap '' TERM; echo ready > ready; while :; do sleep 600; done) & echo $! > pid\n"
    script += "while ! [ -s ready ]; do sleep 0.01; done"
    run(script=script, cwd=str(tmp_path), grace="100ms")
    assert is_dead(int((tmp_path / "pid").read_text()))


def test_pipe_held_open_by_a_process_that_left_the_group_does_not_hang(tmp_path: Path) -> None:
    leave = 'import os, time; os.setsid(); print(os.getpid(), file=open("pid", "w"), flush=True); time.sleep(600)'
    script = f"{sys.executable} -c '{leave}' & while ! [ -s pid ]; do sleep 0.01; done; echo out"
    try:
        assert run(script=script, cwd=str(tmp_path))["output"] == "out\n"
        assert not is_dead(int((tmp_path / "pid").read_text()))
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


class SoftTimeout(BaseException):
    pass


@pytest.fixture
def soft_timeout() -> Iterator[Callable[[Path], None]]:
    """Raises in the main thread, from a signal handler as Celery does, once a file is written."""

    def handler(signum: int, frame: object) -> None:
        raise SoftTimeout

    before = signal.signal(signal.SIGUSR1, handler)
    threads: list[threading.Thread] = []

    def after(path: Path) -> None:
        def watch() -> None:
            wait_until(lambda: written(path), DEADLINE, f"{path} is written")
            os.kill(os.getpid(), signal.SIGUSR1)

        threads.append(threading.Thread(target=watch))
        threads[-1].start()

    yield after
    for thread in threads:
        thread.join(DEADLINE)
    signal.signal(signal.SIGUSR1, before)


def test_soft_timeout_ends_the_group_with_sigterm_first(
    tmp_path: Path, soft_timeout: SoftTimeoutAfter, capfd: pytest.CaptureFixture[str]
) -> None:
    soft_timeout(tmp_path / "ready")
    script = "trap 'echo cleaned up; exit 1' TERM\nsleep 600 & echo $! > child\necho $$ > ready\nwait"
    with pytest.raises(SoftTimeout):
        run(script=script, cwd=str(tmp_path))
    assert is_dead(int((tmp_path / "ready").read_text()))
    assert is_dead(int((tmp_path / "child").read_text()))
    assert capfd.readouterr().out == "cleaned up\n", "what it says while it ends is passed on"


def test_soft_timeout_kills_what_ignores_sigterm(tmp_path: Path, soft_timeout: SoftTimeoutAfter) -> None:
    soft_timeout(tmp_path / "ready")
    with pytest.raises(SoftTimeout):
        run(script="trap '' TERM\necho $$ > ready\nwhile :; do sleep 600; done", cwd=str(tmp_path), grace="50ms")
    assert is_dead(int((tmp_path / "ready").read_text()))


def test_second_interrupt_kills_at_once(tmp_path: Path, soft_timeout: SoftTimeoutAfter) -> None:
    soft_timeout(tmp_path / "ready")
    soft_timeout(tmp_path / "asked")
    script = "trap 'echo now > asked' TERM\necho $$ > ready\nwhile :; do sleep 0.05 || true; done"
    with pytest.raises(SoftTimeout):
        run(script=script, cwd=str(tmp_path), grace="10m")
    wait_until(lambda: is_dead(int((tmp_path / "ready").read_text())), DEADLINE, "killed")


def test_interrupt_at_any_moment_leaves_nothing() -> None:
    """Interrupts come at random moments of the start, the run and the end of commands."""
    code = """
import os, random, signal, sys
from runner.process import group as process_group
from runner.tasks.shell import run

class Stop(BaseException): pass
def handler(signum, frame): raise Stop
signal.signal(signal.SIGALRM, handler)
random.seed(int(sys.argv[1]))
run(command=["true"])
interrupted = 0
for _ in range(150):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.02))
            run(script="sleep 0.004; sleep 600 & sleep 0.002", grace="5s")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except Stop:
        interrupted += 1
print(interrupted, process_group._state.supervisor.pid)
alive = [g for g in process_group._state.guarded if process_group.group_alive(g)]
assert not alive, alive
children = open(f"/proc/self/task/{os.getpid()}/children").read().split() if sys.platform == "linux" else []
assert len(children) <= 1, children
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "7"], capture_output=True, text=True, timeout=120, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    interrupted, _ = done.stdout.split()[-2:]
    assert int(interrupted) > 20


@pytest.fixture
def start_job(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a process that runs a script as a job, and wait until the script has written its id to `ready`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, prelude: str = "") -> subprocess.Popen[bytes]:
        code = f"{prelude}\nfrom runner.tasks.shell import run\nrun(script={script!r}, cwd={str(tmp_path)!r})"
        started.append(subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.DEVNULL))
        wait_until(lambda: written(tmp_path / "ready"), DEADLINE, "the command runs")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait(DEADLINE)


SCRIPT = "trap '' TERM HUP INT\n(sleep 600 & echo $! > child) \necho $$ > ready\nwhile :; do sleep 600; done"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_command_dies_when_its_process_vanishes(tmp_path: Path, start_job: StartJob, signum: int) -> None:
    process = start_job(SCRIPT)
    process.send_signal(signum)
    assert process.wait(DEADLINE) == -signum
    for name in ("ready", "child"):
        pid = int((tmp_path / name).read_text())
        wait_until(partial(is_dead, pid), DEADLINE, f"{name} is killed")


def test_command_is_guarded_again_after_its_supervisor_was_killed(tmp_path: Path, start_job: StartJob) -> None:
    prelude = (
        "import threading, time\nfrom runner.process import group as process_group\n"
        "def watch():\n"
        "    seen = None\n"
        "    while True:\n"
        "        now = process_group._state.supervisor\n"
        "        if now is not None and now.pid != seen:\n"
        "            seen = now.pid\n"
        f"            open({str(tmp_path / 'supervisors')!r}, 'a').write(f'{{seen}}\\n')\n"
        "        time.sleep(0.01)\n"
        "threading.Thread(target=watch, daemon=True).start()"
    )
    process = start_job(SCRIPT, prelude)

    def supervisors() -> list[int]:
        return [int(line) for line in (tmp_path / "supervisors").read_text().split()]

    wait_until(lambda: written(tmp_path / "supervisors"), DEADLINE, "the first supervisor is known")
    os.kill(supervisors()[-1], signal.SIGKILL)
    wait_until(lambda: len(supervisors()) == 2, DEADLINE, "another supervisor while the command runs")
    process.kill()
    process.wait(DEADLINE)
    command = int((tmp_path / "ready").read_text())
    wait_until(lambda: is_dead(command), DEADLINE, "the command is killed by the second one")


def test_termination_as_in_a_pool_child_lets_the_command_clean_up(tmp_path: Path, start_job: StartJob) -> None:
    """Billiard turns SIGTERM into SystemExit; the command gets its SIGTERM before the pool child ends."""
    script = "trap 'echo bye > cleaned; exit 0' TERM\necho $$ > ready\nwhile :; do sleep 0.02; done"
    process = start_job(script, "from billiard.common import reset_signals\nreset_signals()")
    process.terminate()
    assert process.wait(DEADLINE) != 0
    assert (tmp_path / "cleaned").read_text() == "bye\n"
    assert is_dead(int((tmp_path / "ready").read_text()))


def test_where_the_kernel_has_no_pidfd_and_no_waitid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    monkeypatch.delattr(os, "waitid")
    assert run(command=["echo", "x"])["output"] == "x\n"
    run(script="sleep 600 & echo $! > pid", cwd=str(tmp_path))
    assert is_dead(int((tmp_path / "pid").read_text()))
    with pytest.raises(ShellError, match="exit status 4"):
        run(script="exec >&- 2>&-; exit 4")


def test_output_closed_long_before_the_end() -> None:
    assert run(script="exec >&- 2>&-; sleep 0.05")["output"] == ""


def test_runs_in_a_thread_too() -> None:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(run(command=["echo", "x"])["output"]))
    thread.start()
    thread.join(DEADLINE)
    assert results == ["x\n"]


def test_module_documents_every_option() -> None:
    for name in shell.RESERVED:
        assert f"        {name}: " in (run.__doc__ or "")
