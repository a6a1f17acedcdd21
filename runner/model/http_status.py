"""Map errors to HTTP status codes."""

from __future__ import annotations

from runner.errors import RunnerError, UnknownFile, UnknownJob, UnknownProject

_OF_EXIT_CODES = {2: 422, 4: 404, 5: 409, 69: 503}


def http_status(error: RunnerError) -> int:
    """Return the HTTP status code for the exit code of an error."""
    if isinstance(error, UnknownJob | UnknownProject | UnknownFile):
        return 404
    return _OF_EXIT_CODES.get(error.exit_code, 500)
