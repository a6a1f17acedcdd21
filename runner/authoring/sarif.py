"""Problems as SARIF 2.1.0, the format of code scanning: https://docs.oasis-open.org/sarif/sarif/v2.1.0/."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from runner._version import __version__
from runner.yaml_reader.problem import Problem

RULES = {
    "yaml": "The file cannot be read as strict YAML.",
    "jobs-file": "A key or an option of a jobs file is wrong.",
    "settings": "A setting of runner.yaml is wrong.",
    "code": "A job does not fit the code that it runs.",
}
"""The identifiers of rules, each with a sentence. Identifiers are only ever added."""


def rule_of(problem: Problem) -> str:
    """Return the identifier of the rule that a problem breaks."""
    if problem.from_code:
        return "code"
    if not problem.path:
        return "yaml"
    return "jobs-file" if problem.path.startswith(("jobs", "defaults")) else "settings"


def sarif(problems: Sequence[Problem], path_of: Callable[[str], str]) -> dict[str, Any]:
    """Return a SARIF log with one run.

    Args:
        problems: those to tell of.
        path_of: gives a file's path from the root of the repository for the name that a problem has for it.
    """
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "celery-runner",
                        "semanticVersion": __version__,
                        "rules": [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, path_of(problem.file)) for problem in problems],
            }
        ],
    }


def _result(problem: Problem, path: str) -> dict[str, Any]:
    message = f"{problem.path}: {problem.message}" if problem.path else problem.message
    region: dict[str, Any] = {"startLine": problem.line, "startColumn": problem.index + 1}
    if problem.source:
        region["snippet"] = {"text": problem.source}
    rule = rule_of(problem)
    return {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": problem.severity,
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": quote(path)}, "region": region}}],
        "properties": {name: text for name, text in (("expected", problem.expected), ("fix", problem.fix)) if text},
    }
