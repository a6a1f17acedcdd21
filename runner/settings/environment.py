"""Read ``RUNNER_*`` variables, which override ``runner.yaml``.

The name of a variable is ``RUNNER_`` and the path of the option in capitals: ``RUNNER_WORKER_CONCURRENCY``. Lists are
separated by commas, and lists of folders by colons, as in ``PATH``. Mappings with free keys (``defaults``, ``celery``)
have no variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from runner.model.option import Flag, Integer, ListOf, Section, ValueType, did_you_mean, options_of

OTHERS = frozenset({"RUNNER_PROJECT", "RUNNER_EMBEDDED", "RUNNER_ENV"})
"""Variables of the runner that are not options."""

_HANDED_DOWN = frozenset({"RUNNER_PROJECT_FOUND"})
"""Variables that the runner sets for its own processes."""

_FOREIGN = frozenset(
    "RUNNER_" + name
    for name in (
        *("ARCH", "DEBUG", "ENVIRONMENT", "NAME", "OS", "PERFLOG", "TEMP", "TOOL_CACHE", "TRACKING_ID", "USER"),
        *("WORKSPACE", "ALLOW_RUNASROOT", "MANUALLY_TRAP_SIG"),
    )
)
"""Variables that GitHub Actions sets in every step."""

_OWN_FAMILIES = ("RUNNER_PARAM_", "RUNNER_RUN_", "RUNNER_TEST_")
"""Prefixes of variables for jobs and tests."""


def variables(section: type, prefix: str = "RUNNER") -> Iterator[tuple[str, tuple[str, ...], ValueType]]:
    """Yield the variable, the path in ``runner.yaml``, and the type of each option that has a variable."""
    for declared in options_of(section):
        name = f"{prefix}_{declared.key.upper()}"
        if isinstance(declared.type, Section):
            for variable, path, value_type in variables(declared.type.cls, name):
                yield variable, (declared.key, *path), value_type
        elif getattr(declared.type, "from_variable", True):
            yield name, (declared.key,), declared.type


def plain_value(text: str, value_type: ValueType) -> Any:
    """Return the value of a variable's text as YAML would have it."""
    split = getattr(value_type, "split", None)
    if split is not None:
        return split(text)
    if isinstance(value_type, Integer) and re.fullmatch(r"[-+]?[0-9]{1,18}", text):
        return int(text)
    if isinstance(value_type, Flag) and text in ("true", "false"):
        return text == "true"
    if isinstance(value_type, ListOf):
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def unknown(environ: Mapping[str, str], known: frozenset[str]) -> Iterator[str]:
    """Yield a warning for each unknown ``RUNNER_*`` variable."""
    for name in sorted(environ):
        if not name.startswith("RUNNER_") or name in known | OTHERS | _FOREIGN | _HANDED_DOWN:
            continue
        if not name.startswith(_OWN_FAMILIES):
            yield f"{name} is not a variable of the runner{did_you_mean(name, known | OTHERS)}"
