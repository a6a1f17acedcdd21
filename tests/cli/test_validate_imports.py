"""``runner validate --imports``: what a job gives against what its function takes; imports that misbehave."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from runner.actions.validate import validate
from runner.yaml_reader.problem import Problem
from tests.support.deadline import wait_until
from tests.support.processes import is_alive
from tests.support.project import COMMAND, clean_environment, runner_cli
from tests.support.running import Running

CODE = Path(__file__).parents[1] / "specs" / "code"
CASES = sorted(CODE.glob("*.yaml"))

MISBEHAVING = {
    "sleeps": ("import time\ntime.sleep(10_000)", "the import takes longer than 5 s"),
    "exits": ("import os\nos._exit(3)", "the import ends the process with exit status 3"),
    "exits_cleanly": ("import os\nos._exit(0)", "the import ends the process with exit status 0"),
    "leaves": ("import sys\nsys.exit('bye')", "cannot be imported: SystemExit: bye"),
    "prints": (
        "print('\\x1b[31m{\"job\"' * 50_000)",
        "warning: jobs.prints.task: prints when it is imported: '\\x1b[31m",
    ),
    "forks": ("import os\nos.fork()", "forks when it is imported"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "the import crashes the process with SIGSEGV"),
    "raises": ("import not_there_at_all", "cannot be imported: ModuleNotFoundError: No module named"),
    "wrong": ("def f(:", "cannot be imported: SyntaxError"),
    "closes": ("import os\nos.closerange(0, 200)", "the import ends the process with exit status 1"),
    "daemon": (
        "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    open('daemon.pid', 'w')"
        ".write(str(os.getpid()))\n    time.sleep(10_000)\n  os._exit(0)",
        "forks when it is imported",
    ),
    "threads": ("import threading, time\nthreading.Thread(target=time.sleep, args=(10_000,)).start()", ""),
    "speaks": ("import sys\nprint('a warning', file=sys.stderr)", ""),
    "good": ("", ""),
}


def project(folder: Path, modules: dict[str, str], settings: str = "") -> Path:
    """Write a project with a job for each module."""
    (folder / "jobs.d").mkdir(parents=True)
    (folder / "runner.yaml").write_text(f"redis_url: embedded\npython_path: [.]\n{settings}", "utf-8")
    lines = ["jobs:"]
    for name, text in modules.items():
        (folder / f"m_{name}.py").write_text(f"{text}\n\n\ndef f(): pass\n", "utf-8")
        lines.append(f"  {name}: {{task: m_{name}:f}}")
    (folder / "jobs.d" / "jobs.yaml").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def told(stdout: str) -> list[str]:
    """Return the first line of each problem, without the file."""
    return [line.partition(".yaml:")[2] for line in stdout.splitlines() if line.startswith("jobs.d/")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_job_is_compared_with_its_function(case: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs.d").mkdir()
    shutil.copy(case, tmp_path / "jobs.d")
    shutil.copy(CODE / "targets.py", tmp_path)
    expected = [
        line.removeprefix("# expect: ")
        for line in case.read_text("utf-8").splitlines()
        if line.startswith("# expect: ")
    ]
    assert told(runner_cli("validate", "--imports", cwd=tmp_path).check(2).stdout) == expected


MISTAKES = """\
jobs:
  fits: {task: targets:reprot, kwargs: {day: x}}
  fits-not: {task: targets:reprot, kwargs: {city: x}}
  given: {task: targets:report, kwargs: {day: x, regoin: eu, 'limt': 3, raet: 1.5}}
  given-twice: {task: targets:report, kwargs: {day: x, dya: y}}
  declared: {task: targets:report, params: {dya: {type: string, required: true}}}
  retried: {task: targets:anything, retry: {for: [ConectionError, "targets.Broekn"], not_for: [KeyEror]}}
"""


@pytest.mark.parametrize("case", [*CASES, None], ids=lambda case: case.stem if case else "mistakes")
def test_a_line_as_corrected_has_no_fault_there_and_brings_none(case: Path | None, tmp_path: Path) -> None:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "runner.yaml").write_text("redis_url: embedded\npython_path: [.]\n", "utf-8")
    shutil.copy(CODE / "targets.py", tmp_path)
    path, text = tmp_path / "jobs.d" / "jobs.yaml", case.read_text("utf-8") if case else MISTAKES

    def problems_of(text: str) -> tuple[Problem, ...]:
        path.write_text(text, "utf-8")
        return validate(project=str(tmp_path), imports=True).problems

    before = problems_of(text)
    known = {(problem.path, problem.message) for problem in before}
    for problem in before:
        if problem.corrected:
            lines = text.split("\n")
            assert lines[problem.line - 1] == problem.source
            lines[problem.line - 1] = problem.corrected
            after = {(problem_after.path, problem_after.message) for problem_after in problems_of("\n".join(lines))}
            assert (problem.path, problem.message) not in after
            assert after <= known, problem.corrected
    if case is None:
        found = [problem.replacement for problem in before if problem.corrected]
        assert found == ["targets:report", "region", "limit", "rate", "day", "ConnectionError", "KeyError"]


def test_options_of_stock_tasks_are_checked_without_imports_too(tmp_path: Path) -> None:
    (tmp_path / "jobs.d").mkdir()
    shutil.copy(CODE / "shell.yaml", tmp_path / "jobs.d")
    with_imports = runner_cli("validate", "--imports", cwd=tmp_path).check(2).stdout
    assert runner_cli("validate", cwd=tmp_path).check(2).stdout == with_imports


def test_a_file_with_both_kinds_of_problems_tells_each_once(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", {"raises": "import not_there_at_all"})
    file = folder / "jobs.d" / "jobs.yaml"
    file.write_text(f"{file.read_text('utf-8')}  off: {{task: m_raises:f}}\n", "utf-8")
    lines = told(runner_cli("validate", "--imports", cwd=folder).check(2).stdout)
    assert [line.split(": ")[1] for line in lines] == ["jobs.raises.task", "jobs.off"], lines


def test_what_misbehaves_is_reported_and_the_rest_is_checked(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", {name: text for name, (text, _) in MISBEHAVING.items()})
    done = runner_cli("validate", "--imports", "--import-timeout", "5s", cwd=folder).check(2)
    lines = told(done.stdout)
    for number, (name, (_, message)) in enumerate(MISBEHAVING.items(), start=2):
        found = [line for line in lines if f"jobs.{name}.task: " in line]
        assert len(found) == (1 if message else 0), (name, found)
        if message:
            assert message in found[0]
            assert found[0].startswith(f"{number}:"), "it stands at the job's task"
    pid = folder / "daemon.pid"
    if pid.exists() and Path("/proc/1").is_dir():
        wait_until(lambda: not Path(f"/proc/{pid.read_text()}").exists(), what="the daemon that an import left is gone")


def test_one_that_hangs_in_an_exception_spoils_no_other_job(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", {"good": "", "sleeps": MISBEHAVING["sleeps"][0]})
    text = "jobs:\n" + "".join(
        f"  j{number}: {{task: m_good:f, args: [{number}], retry: {{for: [{name}]}}}}\n"
        for number, name in enumerate(["ValueError", "m_sleeps.Gone", "KeyErorr"])
    )
    (folder / "jobs.d" / "jobs.yaml").write_text(text, "utf-8")
    lines = told(runner_cli("validate", "--imports", "--import-timeout", "4s", cwd=folder).check(2).stdout)
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "jobs.j0.args",
        "jobs.j1.retry.for",
        "jobs.j2.args",
        "jobs.j2.retry.for[0]",
    ]
    assert "takes longer than 4 s" in lines[1]


def test_one_that_kills_the_process_above_it_is_not_passed_over(tmp_path: Path) -> None:
    folder = project(tmp_path / "p", {"kills": "import os\nos.kill(os.getppid(), 9)"})
    [line] = told(runner_cli("validate", "--imports", cwd=folder).check(2).stdout)
    assert "could not be checked" in line


def test_setup_runs_first_and_nothing_reaches_the_caller(tmp_path: Path) -> None:
    modules = {"late": "import boot\nassert boot.ready\nimport os\nos.environ['LEFT'] = '1'"}
    folder = project(tmp_path / "p", modules, "setup: boot:setup\n")
    (folder / "boot.py").write_text("ready = False\ndef setup():\n    global ready\n    ready = True\n    print('x')\n")
    done = runner_cli("validate", "--imports", cwd=folder).check()
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("body", "message"),
    [("raise ValueError('no database')", "ValueError: no database"), ("import os; os._exit(1)", "ended the process")],
)
def test_a_setup_that_fails_is_an_error(tmp_path: Path, body: str, message: str) -> None:
    folder = project(tmp_path / "p", {"good": ""}, "setup: boot:setup\n")
    (folder / "boot.py").write_text(f"def setup():\n    {body}\n")
    done = runner_cli("validate", "--imports", cwd=folder).check(2)
    assert done.stderr.startswith("error: setup: ")
    assert message in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_whoever_ends_it_leaves_no_process(tmp_path: Path, number: int) -> None:
    text = (
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nos.rename('pid', 'sleeper.pid')\ntime.sleep(10_000)"
    )
    folder = project(tmp_path / "p", {"sleeps": text})
    words = [*COMMAND, "validate", "--imports", "--import-timeout", "1h"]
    with Running(words, cwd=folder, env=clean_environment()) as running:
        pid = folder / "sleeper.pid"
        wait_until(pid.exists, what="the import begins")
        running.signal(number)
        running.wait()
        wait_until(lambda: not is_alive(int(pid.read_text())), what="the import is ended")
