"""Lower bounds of dependencies are versions that the suite runs with: ``make test-lowest`` installs them."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TESTED_EXTRAS = ("embedded", "web", "metrics", "otel", "calendars", "archive", "django", "flask", "test", "build")


def bounds() -> Iterator[Requirement]:
    for text in (*PROJECT["dependencies"], *(requirement for name in TESTED_EXTRAS for requirement in extra(name))):
        if (found := Requirement(text)).name != PROJECT["name"]:
            yield found


def extra(name: str) -> list[str]:
    return list(PROJECT["optional-dependencies"][name])


def lowest() -> dict[str, str]:
    found = re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements-lowest.lock").read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.parametrize("bound", list(bounds()), ids=str)
def test_a_lower_bound_is_the_version_that_is_tested(bound: Requirement) -> None:
    least = [Version(specifier.version) for specifier in bound.specifier if specifier.operator in (">=", "~=", "==")]
    assert least, f"{bound} has no lower bound"
    assert Version(lowest()[canonicalize_name(bound.name)]) == max(least), f"make lock, or raise the bound of {bound}"


def test_what_is_imported_is_declared() -> None:
    """A package that comes with another one alone may come in any version, or not at all."""
    declared = {canonicalize_name(bound.name) for bound in bounds()}
    owners = packages_distributions()
    for name in set(imports()) - sys.stdlib_module_names - UNDECLARED.keys() - {"runner"}:
        assert {canonicalize_name(owner) for owner in owners.get(name, ())} & declared, f"{name} is not declared"


def imports() -> Iterator[str]:
    for file in (ROOT / "runner").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            yield from (name.partition(".")[0] for name in names)


UNDECLARED = {
    "billiard": "Celery pins it",
    "vine": "Kombu pins it",
    "amqp": "Kombu pins it",
    "pydantic_core": "pydantic pins it",
    "anyio": "Starlette runs on it",
    "typing_extensions": "Pydantic needs its own TypedDict",
    "flower": "only where a project brings it",
}
