"""Catalogs of jobs that a test builds itself."""

from __future__ import annotations

from collections.abc import Mapping

from runner.catalog.cache import line_of
from runner.catalog.catalog import Catalog, Jobs
from runner.catalog.jobs_file import entry_for
from runner.model.job import JobSpec
from runner.model.option import options_of


def catalog_of(jobs: Mapping[str, JobSpec]) -> Catalog:
    """Return a catalog of the jobs; a job that has a digest keeps it."""
    lines = {}
    for name, job in jobs.items():
        values = {option.field: getattr(job, option.field) for option in options_of(JobSpec)}
        entry = entry_for(name, values, job.line)
        lines[name] = (line_of(entry._replace(digest=job.digest or entry.digest)), job.file)
    return Catalog(Jobs(lines))
