"""Calls a function with several ids. An error with one of them does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from runner.cli.terminal.faults import error_document, worst
from runner.cli.terminal.output import Output
from runner.errors import ArchiveUnavailable, RunnerError, Unavailable

T = TypeVar("T")


def try_all(out: Output, references: Sequence[str], one: Callable[[str], T]) -> list[T | RunnerError]:
    """Call ``one`` with every reference; return its results and errors in the same order.

    Errors are printed at once, unless the output is JSON.

    Raises:
        Unavailable, ArchiveUnavailable: Redis or the archive cannot be reached, so the others would fail the same way.
    """
    found: list[T | RunnerError] = []
    for reference in references:
        try:
            found.append(one(reference))
        except (Unavailable, ArchiveUnavailable):
            raise
        except RunnerError as error:
            found.append(error)
            if not out.as_json:
                out.error(error)
    return found


def codes_of(found: Sequence[object]) -> list[int]:
    """Return the exit codes of the errors that :func:`try_all` returned."""
    return [outcome.exit_code for outcome in found if isinstance(outcome, RunnerError)]


def act_on_all(out: Output, references: Sequence[str], one: Callable[[str], dict[str, Any]]) -> int:
    """Call ``one`` with every reference and return the exit code; with ``--json``, print the results.

    Raises:
        Unavailable, ArchiveUnavailable: Redis or the archive cannot be reached, so the others would fail the same way.
    """
    found = try_all(out, references, one)
    if out.as_json:
        answers = [error_document(answer) if isinstance(answer, RunnerError) else answer for answer in found]
        out.documents(answers, single=len(references) == 1)
    return worst(codes_of(found))
