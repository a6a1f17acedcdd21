"""Look up the secrets of a job, in the worker at the start of each attempt."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from runner.app.secret_command import CommandFailed, command_fault, read_from_command
from runner.host.regular import open_regular, read_at_most
from runner.host.trust import is_read_only
from runner.host.users import NoHome, expand_home
from runner.model.job import JobSpec
from runner.model.masking import SHORTEST, Masker

COMMAND = "exec:"
LARGEST = 64 * 1024
"""The maximum size of a file with a secret (bytes); Linux limits environment variables to twice that."""


class MissingSecret(Exception):
    """A secret of a job, or the variable of an ``${env.NAME}``, is missing."""


def look_up_secrets(job: JobSpec, project: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the secrets of ``job``, by environment variable.

    Raises:
        MissingSecret: secrets are missing, empty, or from a file that others may write; the message lists all.
    """
    found: dict[str, str] = {}
    faults: list[str] = []
    lines: list[str] = []
    for name, source in job.secrets.items():
        try:
            if source.startswith(COMMAND):
                found[name] = read_from_command(source.removeprefix(COMMAND), project, environ)
            else:
                found[name] = look_up(source, project, environ)
        except MissingSecret as missing:
            faults.append(f"{name}: {missing}")
        except CommandFailed as failed:
            faults.append(f"{name}: {failed}")
            lines += failed.output.splitlines()
    if faults:
        # A command may repeat secrets on its standard error.
        raise MissingSecret(Masker([*found.values(), *lines]).text("; ".join(faults)))
    return found


def look_up(source: str, project: Path, environ: Mapping[str, str], reader: str = "the worker") -> str:
    """Return the secret of ``env:NAME`` or ``file:PATH``; ``reader`` names this process in errors.

    Raises:
        MissingSecret: it is missing or empty, or comes from a file that others may write.
    """
    kind, _, reference = source.partition(":")
    if kind == "env":
        if not environ.get(reference):
            how = "set but empty" if reference in environ else "not set"
            raise MissingSecret(f"the variable {reference} is {how} in the environment of {reader}")
        return environ[reference]
    try:
        path = project / expand_home(Path(reference))
    except NoHome as error:
        raise MissingSecret(str(error)) from None
    try:
        text = _read(path)
    except OSError as error:
        raise MissingSecret(f"{path} cannot be read: {error.strerror}") from None
    if not text:
        raise MissingSecret(f"{path} is empty")
    return text


def _read(path: Path) -> str:
    try:
        descriptor = open_regular(path)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise MissingSecret(f"{path} is not a regular file") from None
        raise
    try:
        if os.fstat(descriptor).st_mode & stat.S_IWOTH and not is_read_only(path):
            raise MissingSecret(f"{path} can be written by anybody, run: chmod o-w {path}")
        data = read_at_most(descriptor, LARGEST)
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        raise MissingSecret(f"{path} has more than {LARGEST // 1024} KiB, too much for an environment variable")
    if b"\0" in data:
        raise MissingSecret(f"{path} holds NUL, which no environment variable can")
    # Editors add a line end, which is not part of the password.
    return data.decode("utf-8", "surrogateescape").rstrip("\r\n")


def secret_variables(jobs: Iterable[JobSpec]) -> frozenset[str]:
    """Return the variables in ``env:NAME`` of any job: every run can read them in its worker's environment."""
    return frozenset(source[4:] for job in jobs for source in job.secrets.values() if source.startswith("env:"))


def command_faults(job: JobSpec, project: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets of ``job`` whose command is not found on this host."""
    for name, source in job.secrets.items():
        if source.startswith(COMMAND):
            fault = command_fault(source.removeprefix(COMMAND), project, environ)
            if fault is not None:
                yield f"{name}: {fault}"


def complaints(job: JobSpec, project: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield warnings about a job's secrets before it runs."""
    if not job.secrets:
        return
    found: dict[str, str] = {}
    faults = list(command_faults(job, project, environ))
    for name, source in job.secrets.items():
        if source.startswith(COMMAND):
            continue  # commands are started only for runs
        try:
            found[name] = look_up(source, project, environ)
        except MissingSecret as missing:
            faults.append(f"{name}: {missing}")
    if faults:
        yield f"its runs end in FAILURE/missing_secret: {'; '.join(faults)}"
        return
    for name, value in found.items():
        if len(value) < SHORTEST:
            yield f"the secret {name} has less than {SHORTEST} characters, too few to be masked"
