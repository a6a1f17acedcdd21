"""A job as JSON."""

from __future__ import annotations

from typing import Any

from runner.model.job import JobSpec
from runner.model.option import options_of
from runner.model.pause import Pause
from runner.model.run import to_timestamp


def job_document(
    job: JobSpec, pause: Pause | None = None, *, last: dict[str, Any] | None = None, following: int | None = None
) -> dict[str, Any]:
    """Return a job as JSON: its name and place, then every option as it would stand in YAML, then how it stands.

    Args:
        job: the job.
        pause: that holds it.
        last: how its last run ended.
        following: its next slot, a Unix time in ms.
    """
    every = {
        each.key: each.type.write(value) if (value := getattr(job, each.field)) is not None else None
        for each in options_of(JobSpec)
    }
    stands = {
        "paused": pause.document() if pause is not None else None,
        "last": last,
        "next": to_timestamp(following),
    }
    return {"name": job.name, "file": job.file, "line": job.line, "digest": job.digest, **every, **stands}
