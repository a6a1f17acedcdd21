"""Make the JSON document of a job."""

from __future__ import annotations

from typing import Any

from runner.model.job import JobSpec
from runner.model.option import options_of
from runner.model.pause import Pause
from runner.model.run import to_timestamp


def job_document(
    job: JobSpec, pause: Pause | None = None, *, last: dict[str, Any] | None = None, following: int | None = None
) -> dict[str, Any]:
    """Return a job as JSON: its name and position, every option as written in YAML, and its current state.

    Args:
        job: the job.
        pause: its pause, if it is paused.
        last: the outcome of its last run.
        following: its next slot, a Unix time in milliseconds.
    """
    every = {
        option.key: option.type.write(value) if (value := getattr(job, option.field)) is not None else None
        for option in options_of(JobSpec)
    }
    current = {
        "paused": pause.document() if pause is not None else None,
        "last": last,
        "next": to_timestamp(following),
    }
    return {"name": job.name, "file": job.file, "line": job.line, "digest": job.digest, **every, **current}
