"""Measure the structure of the package: ``make counts``, or ``python -m tests.support.counts --help``.

For each folder of ``runner``: its modules, their lines, import cycles, the word ``Any``, imports inside functions, and
duplicate functions. ``--since REV`` prints how the counts have changed since a commit.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import sys
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]

LEAST_DUPLICATE = 20
"""The minimum number of syntax tree nodes, without the docstring, of a function that counts as a duplicate."""

COLUMNS = ("modules", "lines", "circles", "Any", "function-level imports", "duplicates")

Files = Mapping[str, str]
"""The text of each file by its path, relative to the repository."""


@dataclass
class Counts:
    """The results: for each column, the locations of the counted items, by folder."""

    numbers: dict[str, Counter[str]] = field(default_factory=lambda: {column: Counter() for column in COLUMNS})
    places: dict[str, list[str]] = field(default_factory=lambda: {column: [] for column in COLUMNS})

    def add(self, column: str, path: str, place: str = "", number: int = 1) -> None:
        """Count an item in a file."""
        parts = path.split("/")
        self.numbers[column][parts[1] if len(parts) > 2 else "."] += number
        if place:
            self.places[column].append(place)


def count(files: Files) -> Counts:
    """Return the counts of a package."""
    counts = Counts()
    trees = {path: ast.parse(text, path) for path, text in files.items()}
    for path, text in files.items():
        counts.add("modules", path)
        counts.add("lines", path, number=len(text.splitlines()))
        for number, line in enumerate(text.splitlines(), 1):
            if found := len(re.findall(r"\bAny\b", line)):
                counts.add("Any", path, f"{path}:{number}: {line.strip()}", found)
        for node in _function_imports(trees[path]):
            counts.add("function-level imports", path, f"{path}:{node.lineno}: {ast.unparse(node)}")
    for circle in circles(imports_of(trees)):
        counts.add("circles", circle[0], " -> ".join((*circle, circle[0])))
    for places in _duplicates(trees):
        for path, first, name in places[1:]:
            counts.add("duplicates", path, f"{path}:{first}: {name}, as {places[0][0]}:{places[0][1]}")
    return counts


def _function_imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    found = {id(child): child for node in functions for child in ast.walk(node)}
    yield from (child for child in found.values() if isinstance(child, ast.Import | ast.ImportFrom))


def imports_of(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """Return the imports of each file, anywhere in it, except those only for type checkers."""
    paths = {_module(path): path for path in trees}
    found: dict[str, set[str]] = {}
    for path, tree in trees.items():
        names: set[str] = set()
        for node in _running(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.update(
                    f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in paths else node.module
                    for alias in node.names
                )
        found[path] = {paths[name] for name in names if name in paths} - {path}
    return found


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes below ``node`` that are executed."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _running(child)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of files that import one another, directly or indirectly (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(path: str) -> None:
        index[path] = low[path] = len(index)
        stack.append(path)
        for other in sorted(imports[path]):
            if other not in index:
                visit(other)
                low[path] = min(low[path], low[other])
            elif other in stack:
                low[path] = min(low[path], index[other])
        if low[path] == index[path]:
            cut = stack.index(path)
            if len(stack) - cut > 1:
                found.append(sorted(stack[cut:]))
            del stack[cut:]

    for path in sorted(imports):
        if path not in index:
            visit(path)
    return found


def _duplicates(trees: Mapping[str, ast.Module]) -> Iterator[list[tuple[str, int, str]]]:
    """Yield the locations of functions with the same code, whatever their names."""
    places: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                if sum(1 for part in body for _ in ast.walk(part)) >= LEAST_DUPLICATE:
                    places["\n".join(map(ast.dump, body))].append((path, node.lineno, node.name))
    yield from (found for found in places.values() if len(found) > 1)


def files_now() -> Files:
    """Return the current files of the package."""
    paths = sorted((ROOT / "runner").rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def files_at(revision: str) -> Files:
    """Return the files of the package at a commit."""
    command = ["git", "archive", "--format=tar", revision, "runner"]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".py")]
        return {member.name: tar.extractfile(member).read().decode() for member in members}  # type: ignore[union-attr]


def table(counts: Counts, before: Counts | None) -> str:
    """Return the counts by folder as text; with ``before``, as ``before > now`` where they differ."""
    folders = {folder for snapshot in (counts, before) if snapshot for folder in snapshot.numbers["modules"]}
    rows: list[tuple[str, ...]] = [("", *COLUMNS)]
    for folder in [*sorted(folders), None]:
        cells = []
        for column in COLUMNS:
            now, then = (_number(snapshot, column, folder) for snapshot in (counts, before or counts))
            cells.append(f"{now}" if now == then else f"{then} > {now}")
        rows.append((folder or "all", *cells))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _number(counts: Counts, column: str, folder: str | None) -> int:
    numbers = counts.numbers[column]
    return numbers.total() if folder is None else numbers[folder]


def main(words: list[str]) -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.counts", description=__doc__)
    parser.add_argument("--since", metavar="REV", help="a commit to compare with")
    parser.add_argument("--list", metavar="COLUMN", choices=COLUMNS[2:], help="also print where they stand")
    options = parser.parse_args(words)
    counts = count(files_now())
    print(table(counts, count(files_at(options.since)) if options.since else None))
    for location in counts.places[options.list] if options.list else ():
        print(location)


if __name__ == "__main__":
    main(sys.argv[1:])
