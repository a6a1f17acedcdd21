"""``runner new``: a job out of a function, beside what a file holds already."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import runner_cli, write_project

MODULE = '''\
import datetime
import enum
from typing import Literal, Optional


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


def build(
    day: datetime.date,
    region: Literal["eu", "us"] = "eu",
    limit: int | None = None,
    *,
    rate: float = 1e-5,
    tags: list[str] = (),
    sizes: dict[str, int] = {},
    yes="on",
    when: "Optional[str]" = None,
    color: Color = Color.RED,
    either: int | str = 3,
    anything=object(),
    **rest,
):
    """Build the report: of one day.

    Args:
        day: Day to report, such as
            2026-01-01.
        region (str): Where: ``eu`` or "us".
    """
    return [day, region]


def sphinx(path: str, count: int = 1):
    """Read a file.

    :param path: Where it is.
    :param int count: How often.
    """
    return [path, count]


def numpy(path, count=1):
    """Read a file.

    Parameters
    ----------
    path : str
        Where it is,
        in words.
    count
        How often.

    Returns
    -------
    list
    """
    return [path, count]


def odd(
    a="a\\nb", b=float("inf"), c=10**30, d={"k": [1, None, "on", 1.5]}, e="1:30", f="2026-01-01", g="${x}",
    h="日本: #x", i=" lead", j="", k="0o7", l="- x", m="100%", n="[a]", o="*x", p=(1, 2), q=True, r="~", s=-0.0,
): 'Say "hi": now'


def bare(): return "done"


def positional(a, /): ...


def generator(): yield
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    runner_cli("init", cwd=tmp_path).check()
    (tmp_path / "work.py").write_text(MODULE, "utf-8")
    return tmp_path


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "jobs.d").iterdir())


def job(folder: Path, name: str, file: str | None = None) -> dict[str, Any]:
    text = (folder / "jobs.d" / (file or f"{name}.yaml")).read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["jobs"][name]
    return found


def test_params_come_from_signature_hints_and_docstring(folder: Path) -> None:
    done = runner_cli("new", "report", "work:build", cwd=folder).check()
    assert f"now: runner run report -p day=VALUE --project {folder}" in done.stderr
    made = job(folder, "report")
    assert made == {
        "task": "work:build",
        "description": "Build the report: of one day.",
        "params": {
            "day": {
                "type": "string",
                "format": "date",
                "required": True,
                "description": "Day to report, such as 2026-01-01.",
            },
            "region": {"enum": ["eu", "us"], "default": "eu", "description": 'Where: eu or "us".'},
            "limit": {"type": ["integer", "null"], "default": None},
            "rate": {"type": "number", "default": 1e-05},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "sizes": {"type": "object", "additionalProperties": {"type": "integer"}, "default": {}},
            "yes": {"type": "string", "default": "on"},
            "when": {"type": ["string", "null"], "default": None},
            "color": {"enum": ["red", "blue"]},
            "either": {"type": ["integer", "string"], "default": 3},
            "anything": {},
        },
    }
    text = (folder / "jobs.d" / "report.yaml").read_text("utf-8")
    assert text.startswith("# yaml-language-server: $schema=../schema/jobs.schema.json\njobs:\n")
    assert "# day arrives as text, not as datetime.date: convert it in the function\n" in text
    assert runner_cli("validate", "--imports", cwd=folder).check().stdout == ""


@pytest.mark.parametrize(("style", "words"), [("sphinx", "Where it is."), ("numpy", "Where it is, in words.")])
def test_other_styles_of_docstrings(folder: Path, style: str, words: str) -> None:
    runner_cli("new", style, f"work:{style}", cwd=folder).check()
    params = job(folder, style)["params"]
    assert [param["description"] for param in params.values()] == [words, "How often."]


def test_what_is_written_runs(folder: Path) -> None:
    runner_cli("new", "read", "work:sphinx", cwd=folder).check()
    try:
        done = runner_cli("run", "read", "-p", "path=x", cwd=folder, timeout=120).check()
        assert done.json == ["x", 1]
    finally:
        runner_cli("down", cwd=folder)


def test_defaults_that_yaml_reads_in_odd_ways_come_back_as_they_were(folder: Path) -> None:
    runner_cli("new", "odd", "work:odd", cwd=folder).check()
    shown = runner_cli("jobs", "odd", "--json", cwd=folder).check().json
    assert shown["description"] == 'Say "hi": now'
    defaults = {name: param.get("default", "none") for name, param in shown["params"].items()}
    assert defaults == {
        **{"a": "a\nb", "b": "none", "c": "none", "d": {"k": [1, None, "on", 1.5]}, "e": "1:30", "f": "2026-01-01"},
        **{"g": "${x}", "h": "日本: #x", "i": " lead", "j": "", "k": "0o7", "l": "- x", "m": "100%", "n": "[a]"},
        **{"o": "*x", "p": [1, 2], "q": True, "r": "~", "s": 0.0},
    }
    assert runner_cli("validate", "--imports", cwd=folder).check().stdout == ""


FILES = {
    "comments": "jobs:\n    a: {task: x:y}   # four columns\n\n# the end\n",
    "no-newline": "jobs:\n  a: {task: x:y}",
    "windows": "jobs:\r\n  a:\r\n    task: x:y\r\n",
    "byte-order-mark": "\ufeffjobs:\n  a: {task: x:y}\n",
    "defaults-last": "jobs:\n  a: {task: x:y}\n\n# Shared\ndefaults:\n  queue: q\n",
    "no-jobs": "defaults: {queue: q}\n",
    "null": "jobs:\nx-a: 1\n",
    "empty": "",
    "comment-only": "# nothing yet\n",
    "block-text": "jobs:\n  a:\n    task: x:y\n    description: |+\n      text\n\n\n",
    "japanese": "jobs:\n  a: {task: x:y, description: 日本語}\n",
    "broken-job": "jobs:\n  a: {task: 3}\n  b: {task: x:y}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_keeps_its_text_byte_for_byte(folder: Path, name: str) -> None:
    file = folder / "jobs.d" / "there.yaml"
    before = FILES[name].encode()
    file.write_bytes(before)
    file.chmod(0o640)
    done = runner_cli("new", "bare", "work:bare", "--file", "jobs.d/there.yaml", cwd=folder)
    if name == "block-text":
        # A text that keeps its empty lines would get one more.
        assert done.check(2).stderr.startswith("error: ")
        assert file.read_bytes() == before
        return
    done.check()
    after = file.read_bytes()
    newline = b"\r\n" if b"\r\n" in before else b"\n"
    added = b"bare:" + newline
    assert added in after
    start = next(at for at in range(len(before) + 1) if before[:at] != after[:at] or at == len(before))
    start = start if before[:start] == after[:start] else start - 1
    assert after.endswith(before[start:])
    assert len(after) > len(before)
    assert yaml.safe_load(after.decode("utf-8-sig"))["jobs"]["bare"]["task"] == "work:bare"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert not list(file.parent.glob(".*"))


def test_nothing_is_overwritten(folder: Path) -> None:
    before = {path: path.read_bytes() for path in (folder / "jobs.d").iterdir()}
    done = runner_cli("new", "hello", "work:bare", cwd=folder).check(2)
    assert "job hello is declared in jobs.d/example.yaml:4 already" in done.stderr
    runner_cli("new", "hello", "work:bare", "--file", "jobs.d/example.yaml", cwd=folder).check(2)
    assert {path: path.read_bytes() for path in (folder / "jobs.d").iterdir()} == before


def test_print_writes_nothing(folder: Path) -> None:
    done = runner_cli("new", "bare", "work:bare", "--print", cwd=folder).check()
    assert yaml.safe_load(done.stdout) == {"jobs": {"bare": {"task": "work:bare"}}}
    assert listed(folder) == ["example.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Bad_", "work:bare"), "the name of a job: 'Bad_' is not valid"),
        (("x", "work"), "the path of a function"),
        (("x", "work:baer"), "work has no baer, did you mean bare?"),
        (("x", "wokr:bare"), "No module named 'wokr'"),
        (("x", "work:positional"), "by position only"),
        (("x", "work:generator"), "is a generator function"),
        (("x", "work:bare", "--file", "other/x.yaml"), "is in no folder of jobs"),
        (("x", "work:bare", "--file", "jobs.d/x.txt"), "would not be read"),
        (("x", "work:bare", "--file", "jobs.d/braces.yaml"), "jobs is written in braces"),
        (("x", "work:bare", "--file", "jobs.d/list.yaml"), "braces"),
    ],
)
def test_what_can_not_be_written_says_why(folder: Path, words: tuple[str, ...], message: str) -> None:
    (folder / "jobs.d" / "braces.yaml").write_text("jobs: {a: {task: x:y}}\n", "utf-8")
    (folder / "jobs.d" / "list.yaml").write_text("[1]\n", "utf-8")
    before = listed(folder)
    done = runner_cli("new", *words, cwd=folder).check(2)
    assert message in done.stderr
    assert listed(folder) == before


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("shell:run", ["kwargs:", "command:"]),
        ("python:script", ["file: scripts/example.py"]),
        ("http:request", ["https://example.com/"]),
        ("notify:email", ["to:", "sender:", "run:", "required: true"]),
        ("notify:webhook", ["url:", "run:"]),
    ],
)
def test_a_stock_task_gets_what_only_its_author_may_choose(tmp_path: Path, task: str, words: list[str]) -> None:
    project = write_project(tmp_path, "embedded")
    project.cli("new", "x", f"runner.tasks.{task}").check()
    text = (tmp_path / "jobs.d" / "x.yaml").read_text()
    assert all(word in text for word in words), text
    project.cli("validate").check()
