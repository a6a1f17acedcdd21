"""Help, start-up, and what is said of a command line that is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runner.cli.commands import COMMANDS
from runner.cli.main import root
from tests.support.project import Project, clean_environment, runner_cli

HEAVY = ("celery", "kombu", "redis", "rich", "yaml", "jsonschema")


def imported_by(words: list[str], project: Project) -> set[str]:
    """Return the top-level packages that a command imports."""
    code = (
        "import sys; from runner.cli.main import run; code = run(sys.argv[1:]);"
        "print('\\n'.join({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=project.path, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_ends_with_an_example(name: str, flag: str, tmp_path: object) -> None:
    from click.testing import CliRunner

    done = CliRunner().invoke(root, [name, flag], prog_name="runner")
    assert done.exit_code == 0
    example = done.output.partition("\nExample:\n")[2].rstrip()
    assert "runner" in example
    assert all(line.startswith("  ") for line in example.splitlines())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    command = root.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    assert command.help
    for param in command.params:
        if param.param_type_name == "option" and not getattr(param, "hidden", False):
            assert getattr(param, "help", None), f"{name}: {param.opts}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_number_has_bounds(name: str) -> None:
    """A number of 400 digits fits into no type of C, and into no float."""
    import click

    command = root.get_command(click.Context(root), name)
    assert command is not None
    for param in command.params:
        if isinstance(param.type, click.IntRange):
            assert param.type.min is not None
            assert param.type.max is not None, param.name


def test_help_imports_nothing_heavy(project: Project) -> None:
    assert not imported_by(["--help"], project) & set(HEAVY)


def test_completion_imports_neither_celery_nor_redis(project: Project) -> None:
    env = clean_environment({"_RUNNER_COMPLETE": "bash_complete", "COMP_WORDS": "runner submit he", "COMP_CWORD": "2"})
    code = (
        "import sys; from runner.cli.main import run; run([]);"
        "print('\\n'.join({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project.path, env=env, capture_output=True, text=True)
    assert done.stdout == "plain,hello\n"
    assert not set(done.stderr.split()) & {"celery", "kombu", "redis", "rich"}


def test_submit_imports_no_celery(project: Project) -> None:
    assert not imported_by(["submit", "unserved"], project) & {"celery", "kombu", "billiard", "rich", "jsonschema"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sumbit", "hello"], "did you mean submit?"),
        (["submit", "hello", "--priorty", "3"], "--priority"),
        (["submit", "helo"], "hello"),
        (["submit", "hello", "-p", "nam=x"], "did you mean name?"),
        (["submit", "hello", "--in", "10"], "10 has no unit"),
        (["submit", "hello", "--in", "10m", "--at", "02:00"], "use one of them"),
        (["submit", "hello", "--at", "2020-01-01 00:00"], "is in the past"),
        (["submit", "hello", "--at", "someday"], "is not a time"),
        (["submit", "hello", "--timeout", "10s"], "add --wait"),
        (["submit", "hello", "--queue", "a b"], "queue"),
        (["submit", "hello", "--params", "[1]"], "not a JSON object"),
        (["submit", "hello", "--params", '{"name": "a", "name": "b"}'], "given twice"),
        (["submit", "hello", "--params", "@missing.json"], "cannot be read"),
        (["revoke", "12345678", "--signal", "TERM"], "add --terminate"),
        (["revoke", "@hello"], "name the run by its id"),
        (["runs", "--since", "24"], "no unit"),
        (["runs", "--job", "helo"], "hello"),
        (["wait"], "ID..."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_2_and_says_what_to_do(project: Project, words: list[str], said: str) -> None:
    done = project.cli(*words).check(2)
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_json_when_json_was_asked_for(project: Project) -> None:
    for words in (["submit", "helo"], ["submit", "hello", "--priorty=3"], ["status", "00000000-1111"]):
        done = project.cli(*words, "--json")
        assert done.stderr == ""
        error = done.json["error"]
        assert list(error) == ["code", "message", "hint", "exit_code"]
        assert error["exit_code"] == done.exit_code


def test_project_stands_before_and_after_the_verb(project: Project, tmp_path: object) -> None:
    before = runner_cli("--project", project.path, "jobs", "--json", cwd="/").check()  # type: ignore[arg-type]
    after = runner_cli("jobs", "--project", project.path, "--json", cwd="/").check()  # type: ignore[arg-type]
    assert before.json == after.json


def test_version(project: Project) -> None:
    from runner import __version__

    assert project.cli("--version").check().stdout == f"runner {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(project: Project, shell: str) -> None:
    assert "_RUNNER_COMPLETE" in project.cli("completion", shell).check().stdout
