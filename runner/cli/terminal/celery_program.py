"""Report errors of the runner in the program ``celery`` without a traceback, as in ``celery -A runner call JOB``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from runner.cli.terminal.faults import report_error
from runner.errors import RunnerError


@contextmanager
def reporting() -> Iterator[None]:
    """In the program ``celery``, report errors of the runner as the runner does, and exit with their codes.

    This covers errors raised in the block and, from then on, uncaught errors. Other programs get the exceptions.
    """
    program = Path(sys.argv[0] if sys.argv else "")
    if program.name != "celery" and program.parts[-2:] != ("celery", "__main__.py"):
        yield
        return
    sys.excepthook = _report
    try:
        yield
    except RunnerError as error:
        # Celery would show a traceback if the import of the app fails.
        sys.exit(report_error(error, as_json=False))


def _report(cls: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if isinstance(error, RunnerError):
        sys.exit(report_error(error, as_json=False))
    sys.__excepthook__(cls, error, traceback)
