"""``runner validate``: problems as text, as annotations of GitHub, and as SARIF; defaults; stale schemas."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.support.project import COMMAND, Project, clean_environment, runner_cli, write_project

SARIF = Path(__file__).parents[1] / "support" / "sarif" / "sarif-2.1.0.json"


SPECS = Path(__file__).parents[1] / "specs"


BROKEN = "jobs:\n  x:\n    task: a:b\n    kwargs: {说明: 1}\n    timeout: 30\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "runner.yaml").write_text("redis_url: embedded\npython_path: [.]\n", "utf-8")
    return tmp_path


def write(folder: Path, text: str, name: str = "a.yaml") -> None:
    (folder / "jobs.d" / name).write_text(text, "utf-8")


def test_each_problem_has_its_line_a_caret_and_a_fix(folder: Path) -> None:
    write(folder, BROKEN)
    done = runner_cli("validate", cwd=folder).check(2)
    assert done.stdout.splitlines() == [
        "jobs.d/a.yaml:4:14: jobs.x.kwargs.说明: "
        "'说明' is not valid, use letters, digits, and underscores, no digit first",
        "    4 |     kwargs: {说明: 1}",
        "      |              ^",
        "      = fix: use letters, digits, and underscores, no digit first",
        "jobs.d/a.yaml:5:14: jobs.x.timeout: 30 has no unit, write 30s, 30m or 30h",
        "    5 |     timeout: 30",
        "      |              ^",
        "      = expected: duration, 100ms or more, such as `15m`",
        "      = fix: write 30s, 30m or 30h",
    ]
    assert done.stderr == "2 problems in 1 file\n"


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ("    timeuot: 30s", "timeout: 30s"),
        ('    env: {A: "x", B: yes}', 'env: {A: "x", B: "yes"}'),
        ("    enabled: yes", "enabled: true"),
        ("    retry: {max_retries: 010}", "retry: {max_retries: 10}"),
        ("    steps: [a]", "use the name of each step as its key, such as load: {…}"),
        (
            "    depends_on: a",
            "write require: [{job: NAME, within: 1d}], or write both as steps of one job",
        ),
        ("    env: {VERSION: 1.10}", 'env: {VERSION: "1.10"}'),
        ("    retry: 5", "retry: {max_retries: 5}"),
        ("    queue: q，", "queue: q,"),
    ],
)
def test_the_fix_is_the_corrected_line_where_it_is_known(folder: Path, line: str, fix: str) -> None:
    write(folder, f"jobs:\n  x:\n    task: a:b\n{line}\n")
    assert f"      = fix: {fix}" in runner_cli("validate", cwd=folder).check(2).stdout.splitlines()


def test_a_long_line_is_cut_around_the_fault(folder: Path) -> None:
    write(
        folder, "jobs:\n  x: {task: a:b, description: " + "界" * 900 + ", timeuot: 3s, tags: [" + "b, " * 300 + "c]}\n"
    )
    lines = runner_cli("validate", cwd=folder).check(2).stdout.splitlines()
    source, caret = lines[1], lines[2]
    assert len(source) < 200
    before = source[: source.index("timeuot")]
    assert caret.index("^") == len(before) + before.count("界")


def test_nothing_acts_on_the_terminal_and_color_needs_one(folder: Path) -> None:
    write(folder, 'jobs:\n  x:\n    task: a:b\n    "\\e[31m": 1\n')
    assert "\x1b" not in runner_cli("validate", cwd=folder).check(2).stdout
    assert b"\x1b[1m" in on_terminal(folder, {})
    assert b"\x1b" not in on_terminal(folder, {"NO_COLOR": "1"})


def test_a_terminal_shows_that_there_is_no_problem(folder: Path) -> None:
    write(folder, "jobs:\n  x: {task: 'os:getpid'}\n  y: {task: 'os:getpid'}\n")
    write(folder, "jobs:\n  z: {task: 'os:getpid'}\n", "b.yaml")
    assert on_terminal(folder, {}, stderr=True) == b"3 jobs in 2 files, no problems\r\n"
    assert runner_cli("validate", cwd=folder).check(0).stderr == ""


def test_a_mistyped_option_is_not_answered_with_all_options(folder: Path) -> None:
    write(folder, "jobs:\n  x:\n    task: a:b\n    timeuot: 30s\n    frobnicate: 1\n    retry: {frobnicate: 1}\n")
    (folder / "runner.yaml").write_text("frobnicate: 1\n", "utf-8")
    settings = runner_cli("validate", cwd=folder).check(2).stdout.splitlines()
    assert settings[0] == "runner.yaml:1:1: frobnicate: unknown option"
    assert settings[3:] == ["      = help: runner explain runner lists the options"]
    (folder / "runner.yaml").unlink()
    shown = runner_cli("validate", cwd=folder).check(2).stdout.splitlines()
    assert shown[3] == "      = fix: timeout: 30s"
    assert shown[4] == "jobs.d/a.yaml:5:5: jobs.x.frobnicate: unknown option"
    assert shown[7] == "      = help: runner explain jobs lists the options"
    assert shown[8].endswith("use one of max_retries, delay, backoff, max_delay, jitter, for, not_for")
    write(folder, "jobs:\n  x: {task: 'a:b', params: {day: {frobnicate: 1}}}\n", "b.yaml")
    assert runner_cli("validate", "jobs.d/b.yaml", cwd=folder).check(2).stdout.splitlines() == [
        "jobs.d/b.yaml:2:35: jobs.x.params.day.frobnicate: unknown keyword of JSON Schema",
        "    2 |   x: {task: 'a:b', params: {day: {frobnicate: 1}}}",
        "      |                                   ^",
        "      = help: runner explain jobs.params lists the options",
    ]
    found = runner_cli("validate", "--json", cwd=folder).check(2).json["problems"]
    assert all("`timeout`" in problem["expected"] for problem in found[:2])


def on_terminal(folder: Path, env: dict[str, str], *, stderr: bool = False) -> bytes:
    """Return the output of ``runner validate`` on a terminal, with or without stderr."""
    parent, child = pty.openpty()
    environment = clean_environment({"TERM": "xterm-256color", **env})
    notes = child if stderr else subprocess.DEVNULL
    process = subprocess.Popen(
        [*COMMAND, "validate"], cwd=folder, env=environment, stdin=child, stdout=child, stderr=notes
    )
    os.close(child)
    written = b""
    try:
        while data := os.read(parent, 65536):
            written += data
    except OSError:
        pass  # Linux says so when the other end is closed
    finally:
        os.close(parent)
        process.wait(30)
    return written


def test_json_tells_all_of_a_problem(folder: Path) -> None:
    write(folder, BROKEN)
    problem = runner_cli("validate", "--json", cwd=folder).check(2).json["problems"][1]
    assert problem == {
        "file": "jobs.d/a.yaml",
        "line": 5,
        "column": 14,
        "path": "jobs.x.timeout",
        "message": "30 has no unit, write 30s, 30m or 30h",
        "severity": "error",
        "source": "    timeout: 30",
        "expected": "duration, 100ms or more, such as `15m`",
        "fix": "write 30s, 30m or 30h",
    }


def test_annotations_of_github(folder: Path) -> None:
    project = folder / "deep"
    folder.joinpath("jobs.d").rename(folder / "moved")
    project.mkdir()
    (folder / "moved").rename(project / "jobs.d")
    write(project, "jobs:\n  x:\n    task: a:b\n    kwargs: {说: 1, a: 100%}\n    timeout: 5%\n", "a,b.yaml")
    env = {"GITHUB_WORKSPACE": str(folder)}
    done = runner_cli("validate", "--format", "github", "--project", project, cwd=folder, env=env).check(2)
    first, second = done.stdout.splitlines()
    assert first.startswith("::error file=deep/jobs.d/a%2Cb.yaml,line=4,col=14,title=runner validate::jobs.x.kwargs.")
    assert "::jobs.x.timeout: '5%25' is not a duration" in second
    assert "%0Aexpected: duration" in second


def test_sarif_fits_its_schema(folder: Path) -> None:
    for file in (SPECS / "invalid").glob("*.yaml"):
        (folder / "jobs.d" / file.name).write_bytes(file.read_bytes())
    done = runner_cli("validate", "--format", "sarif", cwd=folder).check(2)
    log = json.loads(done.stdout)
    schema = json.loads(SARIF.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=FormatChecker())
    assert [error.message for error in validator.iter_errors(log)] == []
    assert not validator.is_valid({**log, "version": "2"}), "the schema is looked at"
    results = log["runs"][0]["results"]
    assert len(results) > 100
    wide = next(result for result in results if "说明" in str(result) or "説明" in str(result))
    location = wide["locations"][0]["physicalLocation"]
    # Columns count characters there, not cells of a terminal.
    assert location["region"]["snippet"]["text"][location["region"]["startColumn"] - 1] == "説"
    assert location["artifactLocation"]["uri"] == "jobs.d/wide-column.yaml"


def test_sarif_without_a_problem_is_an_empty_log(folder: Path) -> None:
    write(folder, "jobs: {x: {task: a:b}}\n")
    assert runner_cli("validate", "--format", "sarif", cwd=folder).check().json["runs"][0]["results"] == []


def test_a_named_file_is_read_under_the_settings_of_its_project(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "runner.yaml").write_text("defaults:\n  task: a:b\n  retry: {delay: 5}\n", "utf-8")
    write(folder, "jobs:\n  x: {queue: q}\n")
    done = runner_cli("validate", folder / "jobs.d" / "a.yaml", cwd=elsewhere).check(2)
    assert done.stdout.startswith("runner.yaml:3:18: defaults.retry.delay: 5 has no unit")
    (folder / "runner.yaml").write_text("defaults:\n  task: a:b\n", "utf-8")
    assert runner_cli("validate", folder / "jobs.d" / "a.yaml", cwd=elsewhere).check().stdout == ""
    assert runner_cli("validate", "jobs.d/a.yaml", "--project", ".", cwd=folder).check().stdout == ""


def test_stale_schemas_are_a_warning(tmp_path: Path) -> None:
    runner_cli("init", cwd=tmp_path).check()
    assert runner_cli("validate", cwd=tmp_path).check().stderr == ""
    schema = tmp_path / "schema" / "jobs.schema.json"
    schema.write_text(schema.read_text("utf-8").replace("timeout", "time_limit"), "utf-8")
    done = runner_cli("validate", cwd=tmp_path).check()
    command = f"runner schema jobs > {schema}"
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert "warning: schema/jobs.schema.json is of another version" in done.stderr
    assert command in done.stderr
    schema.write_text(runner_cli("schema", "jobs", cwd=tmp_path).check().stdout, "utf-8")
    assert runner_cli("validate", cwd=tmp_path).check().stderr == ""
    schema.unlink()
    assert runner_cli("validate", cwd=tmp_path).check().stderr == ""


@pytest.mark.parametrize(
    "words",
    [("--json", "--format", "sarif"), ("--import-timeout", "3s"), ("--format", "xml"), ("--import-timeout", "3")],
)
def test_wrong_usage(folder: Path, words: tuple[str, ...]) -> None:
    assert "error" in (done := runner_cli("validate", *words, cwd=folder).check(2)).stderr + done.stdout


def test_what_is_wrong_with_the_settings_is_shown_as_well(tmp_path: Path) -> None:
    write_project(tmp_path, "embedded", settings={"workr": {"lease": "15s"}})
    done = runner_cli("validate", cwd=tmp_path).check(2)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("runner.yaml:")
    assert lines[0].endswith("workr: unknown option, did you mean worker?")
    assert lines[2].endswith("| ^")
    assert lines[-1].strip() == "= fix: worker:"
    assert runner_cli("validate", "--json", cwd=tmp_path).check(2).json["problems"][0]["path"] == "workr"
    assert runner_cli("validate", "--format", "github", cwd=tmp_path).stdout.startswith(
        "::error file=runner.yaml,line="
    )
    (result,) = json.loads(runner_cli("validate", "--format", "sarif", cwd=tmp_path).stdout)["runs"][0]["results"]
    assert result["ruleId"] == "settings"


def test_a_hook_that_leads_nowhere_is_not_told_what_a_name_is(tmp_path: Path) -> None:
    write_project(tmp_path, "embedded", "jobs:\n  a: {task: 'os:getcwd', hooks: {failure: [zz]}}\n")
    output = runner_cli("validate", cwd=tmp_path).check(2).stdout
    assert "no job is named zz" in output
    assert "expected" not in output


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("retry: {max_retries: 2, delay: 1h}", "retry.delay: no delay is longer than max_delay, 10m"),
        ("retry: {max_retries: 2, delay: 1h, max_delay: 1h}", ""),
        ("retry: {delay: 1h}", ""),
        ('schedule: "@daily", params: {x: {default: 1}}', ""),
        ("params: {x: {required: true}}", ""),
        ("unsafe: true", "unsafe: nothing in this job needs it, remove it"),
        (
            "unsafe: true, params: {x: {}}, env: {PATH: '${params.x}'}",
            "unsafe: whoever may submit this job can make it run something else: env.PATH: ${params.x} would",
        ),
        ('args: [[{k: "a ${env.X}"}]]', "args[0][0].k: ${env.X} stays as it is here"),
        ('args: ["echo ${HOME} $${env.X}"]', ""),
    ],
)
def test_what_is_hardly_meant_is_a_warning(tmp_path: Path, options: str, told: str) -> None:
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / "a.yaml").write_text(f"jobs:\n  a: {{task: m:f, {options}}}\n", "utf-8")
    done = runner_cli("validate", cwd=tmp_path).check(0)
    lines = [line for line in done.stdout.splitlines() if line.startswith("jobs.d/")]
    assert len(lines) == bool(told)
    assert f": warning: jobs.a.{told}" in done.stdout if told else done.stdout == ""
    assert done.stderr == ""


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
    assert [problem["line"] for problem in found["problems"]] == [4, 5]
    assert (found["jobs"], found["files"]) == (0, 1)
