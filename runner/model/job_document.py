"""A job as JSON."""

from __future__ import annotations

from typing import Any

from runner.model.job import JobSpec
from runner.model.option import options_of
from runner.model.pause import Pause


def job_document(job: JobSpec, pause: Pause | None = None) -> dict[str, Any]:
    """Return a job as JSON: its name and place, then every option as it would stand in YAML, then its pause."""
    every = {
        each.key: each.kind.write(value) if (value := getattr(job, each.field)) is not None else None
        for each in options_of(JobSpec)
    }
    held = {"paused": pause.document() if pause is not None else None}
    return {"name": job.name, "file": job.file, "line": job.line, "digest": job.digest, **every, **held}
