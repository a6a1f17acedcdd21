"""Rules of the house that no linter knows.

Why an import stands in a function, who changes the ledger, and how large a file of the repository may be.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import sources

ROOT = Path(__file__).parents[2]
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "runner").rglob("*.py"))}
REASONS = ("# start-up time: ", "# an extra: ")
CHANGES = ("beat", "begin", "bury", "forget", "outbox", "remove_queue", "remove_worker", "revoke", "script", "submit")
"""Methods of the ledger that change it, or may."""
ACROSS = {"contract", "deploy", "fault", "frameworks", "house", "integration", "specs", "support", "system"}
"""Folders of tests that stand across the rooms."""


def unexplained(text: str) -> Iterator[str]:
    """Yield imports inside functions that neither give a reason nor follow one that does."""
    lines = text.splitlines()
    functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    bodies = [body for node in functions for body in _bodies(node)]
    for body in bodies:
        explained = False
        for statement in body:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                explained = False
                continue
            before = lines[statement.lineno - 2].strip()
            has_reason = any(reason in lines[statement.lineno - 1] or before.startswith(reason) for reason in REASONS)
            explained = explained or has_reason
            if not explained:
                yield f"{statement.lineno}: {ast.unparse(statement)}"


def _bodies(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[list[ast.stmt]]:
    """Yield the blocks of statements of a function, those of functions inside it left out."""
    waiting: list[ast.AST] = [function]
    while waiting:
        node = waiting.pop()
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block:
                yield block
                waiting += [
                    statement
                    for statement in block
                    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
                ]
        waiting += getattr(node, "handlers", [])


def test_what_counts_as_a_reason() -> None:
    text = """
def f():
    from a import b
    from c import d  # start-up time: --help needs none
    from e import f
    if f:
        # start-up time: rare
        import g
    try:
        import h  # an extra: not everybody has it
    except ImportError:
        import i  # rare
"""
    assert list(unexplained(text)) == ["3: from a import b", "12: import i"]


@pytest.mark.parametrize("file", FILES)
def test_an_import_inside_a_function_says_why(file: str) -> None:
    assert list(unexplained(FILES[file].read_text("utf-8"))) == []


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith(("runner/cli/", "runner/web/"))])
def test_commands_and_pages_change_the_ledger_through_actions(file: str) -> None:
    called = [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(FILES[file].read_text("utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in CHANGES
        and ast.unparse(node.value).rpartition(".")[2] == "ledger"
    ]
    assert called == []


LARGEST_BINARY = 200 * 1024


def test_large_binaries_are_not_tracked() -> None:
    tracked = [ROOT / name for name in sources() if not name.startswith("docs/images/")]
    large = [path for path in tracked if path.is_file() and path.stat().st_size > LARGEST_BINARY]
    assert [path.name for path in large if b"\0" in path.read_bytes()] == []
    assert [path.name for path in tracked if path.suffix == ".whl"] == []


OF_THE_APP = {
    "app.catalog",
    "app.conf.broker_transport_options",
    "app.in_worker",
    "app.job_names",
    "app.project_app",
    "app.runner_settings",
}
"""What is set on the generated app: what belongs to it, and not to a worker, a taker, or an attempt."""
OF_THE_REQUEST = {"request.retries"}
"""What is set on Celery's request: it is Celery's own."""


ROOMS_WITH_APP = {"app", "attempt", "delivery", "flows", "hooks", "ledger", "worker"}


def hung_on(text: str) -> Iterator[str]:
    """Yield the attributes that a module sets on an app or a request, from the word ``app`` or ``request`` on."""
    for node in ast.walk(ast.parse(text)):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found = [expression for target in targets if target is not None for expression in ast.walk(target)]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr") and len(node.args) > 1:
            found.append(ast.Attribute(node.args[0], ast.unparse(node.args[1]).strip("'"), ast.Store()))
        for expression in found:
            if isinstance(expression, ast.Attribute) and isinstance(expression.ctx, ast.Store):
                *_, home, name = ("", *ast.unparse(expression).rsplit(".", 1))
                parts = [part.lstrip("_") for part in home.split(".")]
                for owner in ("app", "request", "req"):
                    if owner in parts:
                        yield ".".join([*parts[parts.index(owner) :], name])


def test_what_counts_as_hung_on() -> None:
    text = """
self.app = self._app = app
app.claims = self.app.conf.x = 1
request.masker, y = masker, 2
self.request.attempt: int = 3
setattr(consumer.app, "known", known)
other.application = 4
"""
    assert sorted(hung_on(text)) == ["app.claims", "app.conf.x", "app.known", "request.attempt", "request.masker"]


@pytest.mark.parametrize(
    "file",
    [
        file
        for file in FILES
        if file.split("/")[1] in ("app", "attempt", "delivery", "flows", "hooks", "ledger", "worker")
    ],
)
def test_nothing_is_hung_on_on_the_app_or_a_request(file: str) -> None:
    """What a worker knows is passed: see ``worker/state.py`` and ``attempt/state.py``."""
    found = set(hung_on(FILES[file].read_text("utf-8")))
    private = {name for name in found if name.rpartition(".")[2].startswith("_") and file == "runner/app/factory.py"}
    assert found - private <= OF_THE_APP | OF_THE_REQUEST


def test_tests_mirror_the_rooms() -> None:
    rooms = {name.split("/")[1] for name in FILES if name.count("/") > 1}
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("*/*.py")}
    assert folders - ACROSS <= rooms
