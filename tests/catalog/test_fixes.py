"""Every fix that a problem of tests/specs prints is applied, and the file is validated again."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runner.catalog.catalog import load_files
from runner.yaml_reader.problem import Problem
from runner.yaml_reader.reader import read_bytes
from tests.catalog.remedies import edits, with_text

INVALID = sorted((Path(__file__).parents[1] / "specs" / "invalid").glob("*.yaml"))


def problems_of(path: Path, text: str) -> tuple[Problem, ...]:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return load_files([path], base=path.parent).problems


def rounds(problems: list[Problem], root: Any) -> Iterator[tuple[Any, list[Problem]]]:
    """Yield the file with one choice for one problem of each job, until every choice was taken.

    Jobs are mostly independent of each other, so a few rounds do instead of one for each choice.
    """
    left: dict[str, list[tuple[Problem, Any]]] = {}
    for problem in problems:
        choices = edits(problem, root)
        assert choices, f"nobody knows what to do: {problem}"
        left.setdefault(".".join(problem.path.split(".")[:2]), []).extend((problem, choice) for choice in choices)
    for number in count():
        chosen = [choices[number] for choices in left.values() if number < len(choices)]
        if not chosen:
            return
        tree = copy.deepcopy(root)
        for _, edit in chosen:
            edit(tree)
        yield tree, [problem for problem, _ in chosen]


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_every_printed_fix_removes_its_problem(tmp_path: Path, file: Path) -> None:
    """Alternatives and remedies in words; test_hints.py applies the corrected lines."""
    path = tmp_path / "jobs.yaml"
    text = file.read_bytes().decode("utf-8", "surrogateescape")
    before = list(problems_of(path, text))
    known = {(problem.path, problem.message) for problem in before}

    def check(after: tuple[Problem, ...], applied: list[Problem]) -> None:
        left = {(problem.path, problem.message) for problem in after}
        for problem in applied:
            assert (problem.path, problem.message) not in left, problem
            assert not [pair for pair in left - known if pair[0] == problem.path], problem

    in_words = []
    for problem in before:
        for line in problem.alternative_lines:
            lines = text.split("\n")
            lines[problem.line - 1] = line
            check(problems_of(path, "\n".join(lines)), [problem])
        if problem.corrected or problem.alternatives:
            continue
        changed = with_text(problem, text)
        if changed is not None:
            check(problems_of(path, changed), [problem])
        else:
            in_words.append(problem)
    if in_words:
        for tree, applied in rounds(in_words, read_bytes(file.read_bytes(), file.name).value):
            check(problems_of(path, json.dumps(tree, ensure_ascii=False)), applied)
