"""Errors in the words of the pages: a heading, what to do here, and where to go on."""

from __future__ import annotations

from collections.abc import Mapping

from runner._dataclass import dataclass

ALL_RUNS = ("All runs", "/runs")
ALL_JOBS = ("All jobs", "/jobs")
OVERVIEW = ("Overview", "/")


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The heading of an error's page, its advice, and the link that leads on.

    ``advice`` replaces the hint of the error, which names commands of the terminal; None keeps the hint.
    """

    title: str
    advice: str | None = None
    link: tuple[str, str] = OVERVIEW


_BY_CODE: Mapping[str, ErrorText] = {
    "unknown_run": ErrorText("Run not found", "Search for it in the list of runs by its job and time.", ALL_RUNS),
    "unknown_job": ErrorText("Job not found", None, ALL_JOBS),
    "ambiguous_id": ErrorText("More than one run fits", "Use more characters of the id.", ALL_RUNS),
    "unavailable": ErrorText("Redis is away", "This page appears by itself as soon as Redis answers again."),
    "archive_unavailable": ErrorText("The archive is away", None, ALL_RUNS),
    "job_disabled": ErrorText("The job is disabled", "Set enabled: true in its file.", ALL_JOBS),
    "job_paused": ErrorText(
        "The job is paused", "Resume it, or check “Although it is paused” in the form on its page.", ALL_JOBS
    ),
    "not_finished": ErrorText("The run has not finished", "Revoke it first, or wait for its end.", ALL_RUNS),
    "not_waiting": ErrorText("Nothing waits for approval here", "Somebody else may have answered already.", ALL_RUNS),
    "belongs_to_flow": ErrorText("The run is a step of a flow", "Act on the flow instead.", ALL_RUNS),
    "cannot_terminate": ErrorText("The run cannot be terminated", None, ALL_RUNS),
}
_BY_STATUS: Mapping[int, ErrorText] = {
    401: ErrorText("Log in first"),
    403: ErrorText("Not allowed"),
    404: ErrorText("Page not found", "Check the address, or start from the overview."),
    405: ErrorText("This cannot be done here"),
    409: ErrorText("This cannot be done now"),
    421: ErrorText("Unknown host name"),
    422: ErrorText("The request has a mistake"),
    429: ErrorText("Too many attempts"),
    500: ErrorText("Something went wrong", "The log of runner web has the details. Please report this as a bug."),
    503: ErrorText("Not available now"),
}


def error_text(code: str, status: int) -> ErrorText:
    """Return the text for the error with ``code``, or else for an answer with the HTTP ``status``."""
    return _BY_CODE.get(code) or _BY_STATUS.get(status) or ErrorText("Something went wrong")
