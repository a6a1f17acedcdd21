"""Help, start-up time, and the messages about mistakes on the command line."""

from __future__ import annotations

import re
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
    """Without bounds, a number of 400 digits would overflow a float or a type of C."""
    import click

    command = root.get_command(click.Context(root), name)
    assert command is not None
    for param in command.params:
        if not getattr(param, "hidden", False):
            assert not isinstance(param.type, type(click.INT) | type(click.FLOAT)), f"{param.name}: use WholeNumber"


def test_help_lists_each_command_once_in_its_group() -> None:
    from click.testing import CliRunner

    shown = CliRunner().invoke(root, ["--help"], prog_name="runner").output
    headings = [line for line in shown.splitlines() if re.fullmatch(r"\w.*:", line)]
    assert headings == ["Start:", "Jobs:", "Runs:", "Operate:", "Set up:", "Options:", "Example:"]
    for name, line in COMMANDS.items():
        found = [row.split(maxsplit=1)[1] for row in shown.splitlines() if row.startswith(f"  {name} ")]
        assert found == [line], name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_options_of_all_commands_last_and_no_formula(name: str) -> None:
    from click.testing import CliRunner

    shown = CliRunner().invoke(root, [name, "--help"], prog_name="runner").output
    last = shown.partition("\nGlobal options:\n")[2].partition("\nExample:\n")[0]
    assert [line.split()[0] for line in last.splitlines() if line.startswith("  -")] == ["--project", "-h,"]
    assert "<=" not in shown
    assert shown.count("--project DIR") == 1
    # However it is asked for.
    assert CliRunner().invoke(root, ["help", name], prog_name="runner").output == shown


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
        (["sumbit", "hello"], "error: no command 'sumbit', did you mean submit?\n"),
        (["cancel", "12345678"], "error: no command 'cancel', did you mean revoke?\n"),
        (["frobnicate"], "error: no command 'frobnicate', see runner --help\n"),
        (["help", "sumbit"], "error: no command 'sumbit', did you mean submit?\n"),
        (["submit", "hello", "--priorty", "3"], "error: no option --priorty, did you mean --priority?\n"),
        (["submit", "hello", "--name=x"], "if name is a param of the job, write -p name=VALUE"),
        (["submit", "hello", "name=x"], "error: unexpected argument 'name=x', did you mean -p name=x?\n"),
        (["run", "hello", "a=x", "b=y z"], "did you mean -p a=x -p 'b=y z'?\n"),
        (["submit", "hello", "you"], "unexpected argument 'you'"),
        (["jobs", "hello", "a=x"], "unexpected argument 'a=x'\n"),
        (["worker", "-c", "5000"], "--concurrency: 5000 is out of range, write 1 to 1024\n"),
        (["worker", "-c", "9" * 400], "is not a whole number"),
        (["worker", "--pool", "thread"], "is not one of prefork, threads, solo, did you mean threads?\n"),
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
    for words in (
        ["submit", "helo", "--json"],
        ["submit", "hello", "--priorty=3", "--json"],
        ["status", "00000000-1111", "--json"],
        ["runs", "--limit", "0", "-o", "json"],
    ):
        done = project.cli(*words)
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
