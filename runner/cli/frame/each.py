"""Does the same with several ids: what fails for one does not keep it from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runner.cli.frame.faults import error_document, worst
from runner.cli.frame.output import Output
from runner.errors import RunnerError, Unavailable


def each(out: Output, references: Sequence[str], one: Callable[[str], dict[str, Any]]) -> int:
    """Call ``one`` with every reference; print what it returns as JSON if asked to, and return the exit code.

    Raises:
        Unavailable: Redis cannot be reached, so the others would fail the same way.
    """
    codes: list[int] = []
    answers: list[dict[str, Any]] = []
    for reference in references:
        try:
            answers.append(one(reference))
        except Unavailable:
            raise
        except RunnerError as error:
            codes.append(error.exit_code)
            answers.append(error_document(error))
            if not out.as_json:
                out.error(error)
    if out.as_json:
        out.documents(answers, single=len(references) == 1)
    return worst(codes)
