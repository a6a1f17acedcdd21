"""Tests that run in forked processes run once each, and everything that happens to one of them is reported."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.command import clean_environment
from tests.support.deadline import wait_until
from tests.support.forks import in_groups
from tests.support.running import Running

CONFTEST = """
import atexit, contextlib, os
import pytest
from tests.support.forks import Forks

def pytest_configure(config):
    config.pluginmanager.register(Forks(config, 2, {"MARK": "x"}, lambda folder: contextlib.nullcontext()))

@pytest.fixture(autouse=True)
def note(request, ends):
    assert os.environ["MARK"] == "x"
    with open("begun", "a") as file:
        file.write(f"{request.node.name} {os.getpid()}\\n")

@pytest.fixture(scope="session")
def ends():
    atexit.register(lambda: open(f"left-{os.getpid()}", "w").close())
    yield
    with open("ended", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""
MODULES = {
    "test_shared.py": """
import os, signal, pytest

@pytest.fixture(scope="module")
def shared():
    return os.getpid()

@pytest.mark.parametrize("number", range(9))
def test_together(shared, number):
    assert shared == os.getpid()
    if number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
""",
    "test_alone.py": """
import warnings, pytest

@pytest.mark.parametrize("number", range(40))
def test_apart(number, tmp_path):
    (tmp_path / "file").touch()
    if number == 20:
        warnings.warn("from a test", UserWarning)
    if number == 25:
        pytest.skip("for a reason")
    print("printed \\udcff")
    assert number != 30
""",
}


def run(folder: Path, *args: str) -> str:
    root = Path(__file__).parents[2]
    words = [
        "-q",
        "-ra",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:schemathesis",
        "-c",
        "/dev/null",
        "--rootdir",
        str(folder),
        *args,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(folder)],
        cwd=folder,
        env=clean_environment({"PYTHONPATH": str(root)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name, text in {"conftest.py": CONFTEST, **MODULES}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_each_test_runs_once_also_after_one_that_ends_its_process(suite: Path) -> None:
    output = run(suite)
    assert "2 failed, 46 passed, 1 skipped, 1 warning in" in output
    assert "the test process ended with -9 meanwhile" in output
    assert "FAILED test_shared.py::test_together[4]" in output
    assert "FAILED test_alone.py::test_apart[30] - assert 30 != 30" in output
    assert "printed \\udcff" in output
    assert "UserWarning: from a test" in output
    assert re.search(r"^SKIPPED \[1\] test_alone.py:\d+: for a reason$", output, re.MULTILINE)
    begun = [line.split() for line in (suite / "begun").read_text().splitlines()]
    assert len({name for name, _ in begun}) == len(begun) == 49
    pids = {pid for _, pid in begun}
    assert len({pid for name, pid in begun if "together" in name}) == 2
    killed = dict(begun)["test_together[4]"]
    # The one that was killed has ended nothing.
    assert set((suite / "ended").read_text().split()) == pids - {killed}
    assert {path.name for path in suite.glob("left-*")} == {f"left-{pid}" for pid in pids - {killed}}


def test_none_begins_after_a_failure_if_so_asked(suite: Path) -> None:
    output = run(suite, "-x")
    assert "stopping after" in output
    assert "test_apart[31] " not in (suite / "begun").read_text()


def test_what_fixtures_have_started_ends_after_an_interrupt(suite: Path) -> None:
    (suite / "test_alone.py").unlink()
    (suite / "test_shared.py").write_text("import time\n\ndef test_sleeps():\n    time.sleep(300)\n")
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-c", "/dev/null", "--rootdir", str(suite)]
    env = clean_environment({"PYTHONPATH": str(Path(__file__).parents[2])})
    with Running([sys.executable, "-m", "pytest", *words, str(suite)], cwd=suite, env=env) as testing:
        begun = wait_until(lambda: (suite / "begun").exists() and (suite / "begun").read_text(), 60.0, "it sleeps")
        os.killpg(testing.pid, signal.SIGINT)
        assert testing.wait(60.0) == 2
    assert (suite / "ended").read_text().split() == begun.split()[1:]


def test_what_waits_for_the_clock_begins_first_and_what_shares_a_fixture_stays_together() -> None:
    def item(path: str, name: str, scope: str = "function", server: str = "", mark: str = "") -> Any:
        fixtures = {server: [SimpleNamespace(scope="session")]} if server else {}
        return SimpleNamespace(
            path=path,
            name=name,
            get_closest_marker=lambda marker: marker == mark,
            _fixtureinfo=SimpleNamespace(name2fixturedefs={**fixtures, "it": [SimpleNamespace(scope=scope)]}),
        )

    items = [
        *(item("a", f"a{number}") for number in range(9)),
        *(item("b", f"b{number}", server="redis_server") for number in range(9)),
        *(item("c", f"c{number}", "module", server="redis_server") for number in range(9)),
        item("d", "d", mark="clock"),
        *(item(f"f{number}", f"f{number}", server="rabbit_node") for number in range(3)),
        *(item("e", f"e{number}", mark="long") for number in range(2)),
    ]
    groups = in_groups(items)
    assert [[test.name for test in group] for group in groups] == [
        ["d"],
        ["f0", "f2"],
        ["f1"],
        ["e0"],
        ["e1"],
        [f"b{number}" for number in range(8)],
        ["b8"],
        [f"c{number}" for number in range(9)],
        [f"a{number}" for number in range(8)],
        ["a8"],
    ]
