"""Warnings about a job's secrets and variables before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.app.env_file import read_env_file
from runner.app.secret_sources import MissingSecret, command_faults, complaints
from runner.host.users import NoHome
from runner.model.job import JobSpec
from runner.settings import Settings
from runner.triggers.files import folder_of


def worker_complaints(job: JobSpec, settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the warnings of a worker."""
    yield from complaints(job, settings.project, environ)
    for complaint in _env_file(job, settings):
        yield f"its runs end in FAILURE/missing_secret: {complaint}"


def host_complaints(job: JobSpec, settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the reasons why the job would fail on this host, whatever environment its worker has."""
    yield from _env_file(job, settings)
    yield from command_faults(job, settings.project, environ)
    if job.watch is not None:
        try:
            folder = folder_of(job.watch, settings.project)
        except NoHome as fault:
            yield f"watch: {fault}"
        else:
            if not folder.is_dir():
                yield f"watch: there is no folder {folder}"


def _env_file(job: JobSpec, settings: Settings) -> Iterator[str]:
    try:
        read_env_file(job, settings.project, settings.trust)
    except MissingSecret as missing:
        yield str(missing)
