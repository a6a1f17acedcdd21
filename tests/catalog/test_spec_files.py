"""Every file of tests/specs: the verdict, the place and the words. A new case is a new file there.

A file in ``invalid/`` begins with one line for each problem it has, ``# expect: LINE:COLUMN: text``; the line
``# schema: cannot express`` says that JSON Schema has no words for the rule.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runner.catalog.catalog import load_files

SPECS = Path(__file__).parents[1] / "specs"
INVALID = sorted((SPECS / "invalid").glob("*.yaml"))
VALID = sorted((SPECS / "valid").glob("*.yaml"))
JOBS_SCHEMA = Path(__file__).parents[2] / "schema" / "jobs.schema.json"


def encoded() -> dict[str, str]:
    lines = (SPECS / "encodings.txt").read_text(encoding="utf-8").splitlines()
    return {name: expected for name, _, expected in (line.partition(" ") for line in lines) if name != "#"}


def expectations(file: Path) -> list[str]:
    if file.name in encoded():
        return [encoded()[file.name]]
    text = file.read_bytes().decode("utf-8-sig")
    return [line.removeprefix("# expect: ") for line in text.splitlines() if line.startswith("# expect: ")]


def test_there_are_enough_cases() -> None:
    assert len(INVALID) >= 60
    assert len(VALID) >= 30


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_each_fault_is_named_where_it_stands(file: Path) -> None:
    catalog = load_files([file], base=SPECS)
    problems = [str(problem).removeprefix(f"invalid/{file.name}:") for problem in catalog.problems]
    expected = expectations(file)
    assert expected, "the file says nothing of what is wrong in it"
    assert len(problems) == len(expected), problems
    for line, start in zip(problems, expected, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_a_valid_file_is_silent(file: Path) -> None:
    assert load_files([file], base=SPECS).problems == ()


def test_all_valid_files_together_are_silent() -> None:
    catalog = load_files(VALID, base=SPECS)
    assert (catalog.problems, catalog.warnings) == ((), ())
    assert [catalog.jobs[name].name for name in catalog.jobs] == list(catalog.jobs)


def test_all_faults_of_all_files_come_in_one_go_and_in_order() -> None:
    together = load_files([SPECS / "invalid"], base=SPECS)
    alone = [problem for file in INVALID for problem in load_files([file], base=SPECS).problems]
    assert together.problems == tuple(sorted(alone))
    assert [problem.file for problem in together.problems] == sorted(problem.file for problem in together.problems)


def check_jsonschema(files: list[Path]) -> set[Path]:
    """Return the files that the JSON Schema refuses."""
    command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(JOBS_SCHEMA), "-o", "json"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=150)
    report = json.loads(done.stdout)
    refused = report.get("errors", []) + report.get("parse_errors", [])
    return {Path(error["filename"]) for error in refused}


def test_the_json_schema_accepts_every_valid_file() -> None:
    assert check_jsonschema(VALID) == set()


def test_the_json_schema_refuses_what_it_can_express() -> None:
    expressible = [
        file for file in INVALID if b"# schema: cannot express" not in file.read_bytes() and file.name not in encoded()
    ]
    assert len(expressible) > len(INVALID) / 2
    assert set(expressible) - check_jsonschema(expressible) == set()
