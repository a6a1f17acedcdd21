"""The docs say what is so: links, commands, files of jobs, and the tables of what there is."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import click
import pytest
import yaml

from runner import errors
from runner.catalog.catalog import load_files
from runner.cli.commands import COMMANDS
from runner.cli.main import root
from runner.cli.terminal.faults import PRECEDENCE
from runner.errors import RunnerError
from runner.model.option import options_of
from runner.model.run import FailureReason, RevokedReason, Run, State
from runner.settings import load_settings
from runner.settings.options import Settings

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted([*PROJECT.glob("*.md"), *DOCS.rglob("*.md")])
CODE = ("runner", "runner/ledger/lua", "runner/delivery/lua", "tests/frameworks/django_shop")
GENERATED = {"jobs.md", "settings.md", "cli.md"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_OPERATORS = {"&&", "||", ";", "|", "&", "(", ")", ">", ">>", "<", "then", "do", "if", "2>"}


def page_id(value: object) -> str:
    return str(value.relative_to(PROJECT)) if isinstance(value, Path) else str(value)[:60].strip()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(*languages: str) -> Iterator[tuple[Path, str]]:
    """Yield the page and text of each code block in one of the languages."""
    for page in PAGES:
        for language, text in _FENCE.findall(page.read_text("utf-8")):
            if language in languages:
                yield page, text


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub names them."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def typed_in(text: str) -> list[str]:
    """Return the commands of a block that shows them, after a prompt, together with what they print."""
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words after each ``runner`` of a shell block or a crontab."""
    for line in text.replace("\\\n", " ").splitlines():
        found: list[str] = []

        def keep(match: re.Match[str], found: list[str] = found) -> str:
            found.append(match[1])
            return "SUBSTITUTED"

        outer = _SUBSTITUTION.sub(keep, line)
        for part in [outer, *found]:
            yield from _commands_of(part)


def _commands_of(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] | None = None
    for word in lexer:
        if word in _OPERATORS:
            if words is not None:
                yield words
            words = None
        elif words is not None:
            words.append(word)
        elif word.rpartition("/")[2] == "runner":
            words = []
        elif " " in word and "runner " in word:
            # A command in quotes, as in sh -c '…'.
            yield from _commands_of(word)
        elif word in ("celery", "pip", "cd"):
            return
    if words is not None:
        yield words


def parse(words: list[str]) -> None:
    """Parse a command line as the command would, and execute nothing."""
    if words and words[-1].startswith("("):
        words = words[:-1]
    try:
        with root.make_context("runner", list(words)) as group:
            name, command, rest = root.resolve_command(group, [*group._protected_args, *group.args])
            assert command is not None
            with command.make_context(name, list(rest), parent=group):
                pass
    except click.exceptions.Exit:
        return


def subclasses(cls: type[RunnerError]) -> Iterator[type[RunnerError]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def rows(page: str) -> set[str]:
    """Return the words in code at the beginning of the rows of all tables of a page."""
    return set(re.findall(r"^\| `([^`]+)`", (DOCS / page).read_text("utf-8"), re.MULTILINE))


def test_generated_pages_are_as_the_code_says() -> None:
    assert generator().stale() == [], "run: make docs"


def test_the_check_tells_a_stale_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = generator()
    for name, page in module.PAGES.items():
        (tmp_path / name).write_text(page(), "utf-8")
    monkeypatch.setattr(module, "REFERENCE", tmp_path)
    assert module.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old", "utf-8")
    assert module.main(["--check"]) == 1


def test_every_command_has_a_section() -> None:
    text = (DOCS / "reference" / "cli.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"## runner {name}\n" in text


def test_every_exit_code_is_explained() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text("utf-8")
    explained = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for code in row.split(",")}
    raised = {subclass.exit_code for subclass in subclasses(RunnerError) if subclass.__module__ == errors.__name__}
    assert explained == {0, *PRECEDENCE, *raised, 130, 143}
    assert ", ".join(map(str, PRECEDENCE)) in text


def test_every_code_of_an_error_is_listed_with_its_exit_code() -> None:
    text = (DOCS / "reference" / "exit-codes.md").read_text("utf-8")
    for subclass in subclasses(RunnerError):
        # Those of the web are answers with a status of HTTP, and never end a command.
        if subclass.__module__.startswith("runner.") and not subclass.__module__.startswith("runner.web."):
            row = re.search(rf"^\| {subclass.exit_code}(,[^|]*)? \|.*`{subclass.code}`", text, re.MULTILINE)
            assert row, f"{subclass.code} ({subclass.exit_code})"


def test_the_chinese_readme_has_the_same_code_links_and_tables() -> None:
    readme, chinese = ((PROJECT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    assert _FENCE.findall(chinese) == _FENCE.findall(readme)
    links = [sorted(set(_LINK.findall(text)) - {"README.md", "README.zh-CN.md"}) for text in (readme, chinese)]
    assert links[0] == links[1]
    assert [len(re.findall(pattern, readme, re.MULTILINE)) for pattern in (r"^\|", "^#")] == [
        len(re.findall(pattern, chinese, re.MULTILINE)) for pattern in (r"^\|", "^#")
    ]


def test_readme_has_the_extras_that_users_can_install() -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    table = (PROJECT / "README.md").read_text("utf-8").partition("| extra |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(extras) - {"test", "dev", "bench", "build"}


def test_readme_has_the_same_exit_codes() -> None:
    pattern = re.compile(r"^\| ([\d, ]+) \|", re.MULTILINE)
    readme = (PROJECT / "README.md").read_text("utf-8").partition("## Exit codes")[2]
    assert pattern.findall(readme) == pattern.findall((DOCS / "reference" / "exit-codes.md").read_text("utf-8"))


def test_states_reasons_and_fields_are_explained_and_nothing_else() -> None:
    wanted = {str(member) for kind in (State, FailureReason, RevokedReason) for member in kind}
    wanted |= {field.name for field in fields(Run)}
    assert rows("reference/states.md") == wanted


def test_fields_stand_in_their_order() -> None:
    text = (DOCS / "reference" / "states.md").read_text("utf-8").partition("## The run document")[2]
    assert re.findall(r"^\| `(\w+)`", text, re.MULTILINE) == [field.name for field in fields(Run)]


def test_every_page_is_in_the_index() -> None:
    linked = set(_LINK.findall((DOCS / "README.md").read_text("utf-8")))
    for page in DOCS.rglob("*.md"):
        if page.name != "README.md":
            assert page.relative_to(DOCS).as_posix() in linked


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_a_page_has_a_title_and_a_text(page: Path) -> None:
    title, _, text = page.read_text("utf-8").lstrip().partition("\n")
    assert title.startswith(("# ", "<")) or page.suffix != ".md"
    assert len(text.strip()) > 100


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    for link in _LINK.findall(_FENCE.sub("", text)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=page_id)
def test_lines_are_not_too_long(page: Path) -> None:
    for line in _FENCE.sub("", page.read_text("utf-8")).splitlines():
        assert len(line) <= 120 or line.startswith("|"), line


def _yaml_blocks() -> list[tuple[Path, str]]:
    return list(blocks("yaml"))


@pytest.mark.parametrize(("page", "text"), _yaml_blocks(), ids=page_id)
def test_yaml_is_valid(page: Path, text: str, tmp_path: Path) -> None:
    value = yaml.safe_load(text)
    keys = {key for key in value if not key.startswith("x-")}
    if keys <= {"jobs", "defaults"}:
        (tmp_path / "jobs.yaml").write_text(text, "utf-8")
        catalog = load_files([tmp_path / "jobs.yaml"], defaults={})
        assert [str(problem) for problem in catalog.problems] == []
        return
    assert keys <= {declared.key for declared in options_of(Settings)}, "neither a file of jobs nor settings"
    (tmp_path / "runner.yaml").write_text(text, "utf-8")
    (tmp_path / "jobs.d").mkdir()
    load_settings(tmp_path, environ={"REDIS_URL": "redis://localhost:6379/0"})


@pytest.mark.parametrize(("page", "text"), list(blocks("python")), ids=page_id)
def test_python_compiles(page: Path, text: str) -> None:
    compile(text, str(page), "exec")


@pytest.mark.parametrize(("page", "text"), list(blocks("json")), ids=page_id)
def test_json_is_valid(page: Path, text: str) -> None:
    json.loads(text)


def _command_lines() -> list[tuple[Path, list[str]]]:
    typed = [(page, "\n".join(typed_in(text))) for page, text in blocks("console")]
    return [(page, words) for page, text in [*blocks("sh", "cron", "ini"), *typed] for words in commands(text)]


@pytest.mark.parametrize(("page", "words"), _command_lines(), ids=page_id)
def test_commands_and_their_options_exist(page: Path, words: list[str]) -> None:
    try:
        parse(words)
    except click.ClickException as error:
        pytest.fail(f"{page.relative_to(PROJECT)}: runner {' '.join(words)}: {error.format_message()}")


def test_keys_in_redis_are_the_ones_that_scripts_use() -> None:
    listed = set(re.findall(r"`NS:([a-z-]+)", (DOCS / "explanation" / "data-flow.md").read_text("utf-8")))
    scripts = [path.read_text("utf-8") for path in (PROJECT / "runner").rglob("*.lua")]
    used = {name for text in scripts for name in re.findall(r"NS \.\. ':([a-z-]+)", text)}
    assert used
    assert used <= listed


def test_modules_that_are_named_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|lua))`", page.read_text("utf-8")):
            folders = [PROJECT, *(PROJECT / name for name in CODE)]
            assert any((folder / path).exists() for folder in folders), f"{page.name}: {path}"


def layers() -> list[list[str]]:
    """Return the layers of the import contract, top down; the packages of one layer are in one list."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    found = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    hidden = {"__main__", "celery", "current", "_dataclass", "_version"}
    return [
        sorted(set(re.findall(r"\w+", layer)) - hidden) for layer in found if set(re.findall(r"\w+", layer)) - hidden
    ]


def test_the_architecture_has_the_layers_of_the_import_contract() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text("utf-8")
    found = re.findall(r"^\|[^|]*\| `(\w+)` \|", text.partition("## Layers")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(found) == sorted(name for layer in layers() for name in layer)
    position = {name: number for number, layer in enumerate(layers()) for name in layer}
    assert [position[name] for name in found] == sorted(position[name] for name in found)


def test_the_picture_of_the_rooms_has_the_layers_of_the_import_contract() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text("utf-8").partition("## The rooms")[2]
    [picture] = [block for language, block in _FENCE.findall(text) if language == "text"]
    # The rooms of a line stand before its words, which two spaces part from them.
    lines = [re.match(r" +(\w+(?:(?:, | {4,7})\w+)?) {2,}\S", line) for line in picture.splitlines()]
    assert [sorted(re.findall(r"\w+", found[1])) for found in lines if found] == _merged(layers())


def _merged(found: list[list[str]]) -> list[list[str]]:
    """Return the layers with the two that the picture shows in one line put together."""
    alone = [layer for layer in found if layer not in (["crontab"], ["schedule"])]
    alone.insert(alone.index(["yaml_reader"]) + 1, ["crontab", "schedule"])
    return alone


def test_the_architecture_names_enough_files_and_folders_that_exist() -> None:
    text = (DOCS / "explanation" / "architecture.md").read_text("utf-8")
    # That they exist is checked for every page.
    assert len(set(re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|lua))`", text))) > 35
    for folder in re.findall(r"`((?:[a-z_]+/)+)`", text):
        assert any((base / folder).is_dir() for base in (PROJECT, PROJECT / "runner")), folder


def test_enough_is_looked_at() -> None:
    # A change of style that hides all commands from the tests above is noticed here.
    assert len(_command_lines()) > 60
    assert len(_yaml_blocks()) > 10
    used = {next((word for word in words if word in COMMANDS), "") for _, words in _command_lines()}
    assert used >= set(COMMANDS)


@pytest.mark.parametrize(
    "line",
    [
        "runner sumbit hello",
        "runner submit hello --wiat",
        "0 2 * * * /x/runner submit a --key $(date) --quite",
        "env -i sh -c 'runner wait'",
    ],
)
def test_wrong_commands_are_found(line: str) -> None:
    [words] = list(commands(line))
    with pytest.raises((click.ClickException, RunnerError)):
        parse(words)
