"""Read the variables of ``env_file:``, in the worker at the start of each attempt."""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from runner.app.secret_sources import MissingSecret
from runner.host.regular import open_regular, read_at_most
from runner.host.trust import Trust, untrusted
from runner.host.users import NoHome, expand_home
from runner.model.job import JobSpec

LARGEST = 256 * 1024
"""The maximum size of the file (bytes)."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MOST_FAULTS = 5
"""The maximum number of invalid lines that a message names."""


class Malformed(MissingSecret):
    """The file exists, but is not a valid dotenv file."""


def read_env_file(job: JobSpec, project: Path, trust: Trust) -> dict[str, str]:
    """Return the variables of the job's ``env_file``; none if it has no such file.

    ``${NAME}`` in a value is a variable of the same file, or else of the worker.

    Raises:
        MissingSecret: the file cannot be read, is not trusted, or is malformed.
    """
    if job.env_file is None:
        return {}
    try:
        path = project / expand_home(Path(job.env_file))
        return _values(_read(path, job.env_file, trust))
    except NoHome as error:
        raise MissingSecret(f"env_file: {error}") from None
    except Malformed as fault:
        raise Malformed(f"env_file: {path}: {fault}") from None
    except OSError as error:
        reason = "is not a regular file" if error.errno == errno.EINVAL else f"cannot be read: {error.strerror}"
        raise MissingSecret(f"env_file: {path} {reason}") from None


def _read(path: Path, shown: str, trust: Trust) -> str:
    descriptor = open_regular(path)
    try:
        fault = untrusted(trust, path, os.fstat(descriptor), shown)
        folder = path.parent
        if fault is None and trust.is_open(folder, folder.stat()):
            fault = f"anybody may write to its folder, run: chmod o-w {folder}"
        if fault is not None:
            raise MissingSecret(f"env_file: {path}: {fault}")
        data = read_at_most(descriptor, LARGEST)
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        raise Malformed(f"has more than {LARGEST // 1024} KiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Malformed(f"line {line} is not UTF-8") from None


def _values(text: str) -> dict[str, str]:
    # start-up time: only jobs with an env_file need it
    from dotenv import dotenv_values

    faults = list(_faults(text))
    if faults:
        more = len(faults) - _MOST_FAULTS
        raise Malformed("; ".join(faults[:_MOST_FAULTS]) + (f"; and {more} more" if more > 0 else ""))
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value or "" for name, value in found.items()}


def _faults(text: str) -> Iterator[str]:
    """Yield the problems without any values, because the file may contain passwords."""
    # start-up time: as above
    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text)):
        before = binding.original.string
        line = binding.original.line + before[: len(before) - len(before.lstrip())].count("\n")
        if binding.error:
            yield f"line {line} is not NAME=value"
        elif binding.key is None:
            continue
        elif not _NAME.match(binding.key):
            yield f"line {line}: a name of a variable has letters, digits, and underscores, no digit first"
        elif binding.value is None:
            yield f"line {line}: {binding.key} has no value, write {binding.key}="
        elif "\0" in binding.value:
            yield f"line {line}: the value of {binding.key} holds NUL, which no environment variable can"
