"""Convert a crontab to a job file."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner._dataclass import dataclass
from runner.actions import crontab
from runner.actions.project import Project
from runner.authoring.init import host_timezone, init, write_new
from runner.catalog.catalog import check_defaults
from runner.catalog.jobs_file import read_jobs
from runner.crontab.block import BrokenBlock
from runner.crontab.jobs_file import Surroundings, jobs_file
from runner.crontab.reading import Left, read_crontab
from runner.errors import CrontabError, UsageError
from runner.host.users import current_user
from runner.settings.discovery import is_project
from runner.yaml_reader.reader import read_text

FILE = "crontab.yaml"
_USUAL_USERS = frozenset({"root", "www-data", "nobody", "postgres", "mysql", "munin", "logcheck", "operator", "apache"})
"""Common users in system crontabs of other hosts."""


@dataclass(frozen=True, slots=True)
class Carried:
    """The result of an import: the files written, the jobs' names, and the lines that were left out or changed."""

    files: tuple[Path, ...]
    jobs: tuple[str, ...]
    left: tuple[Left, ...]


def from_crontab(folder: Path, text: bytes | None, *, system: bool = False) -> Carried:
    """Write ``crontab.yaml`` to the jobs of a project, creating the project if necessary.

    Args:
        folder: the folder of the project.
        text: a crontab; None: that of this user.
        system: whether its lines have a user, as in /etc/crontab.

    Raises:
        CrontabError: there is no crontab, it cannot be read, or none of its lines can become a job.
        UsageError: the file exists, or cannot be written; nothing was written.
    """
    if text is None:
        text = crontab.read()
        if text is None:
            raise CrontabError(
                f"{current_user()} has no crontab",
                hint="name a file, or - for stdin: runner init --from-crontab FILE",
            )
    try:
        reading = read_crontab(text, system=system, is_user=_is_user)
    except BrokenBlock as broken:
        raise CrontabError(
            f"the runner's marks in the crontab do not match: {broken}", hint="correct them: crontab -e"
        ) from None
    if not reading.entries:
        why = "".join(f"\nline {skipped.line}: {skipped.source}: {skipped.why}" for skipped in reading.left)
        raise CrontabError(
            f"the crontab has no line that can become a job{why}", hint="runner new writes a job by hand"
        )
    if is_project(folder):
        project = Project.open(folder)
        target, taken = project.settings.jobs_dir[0] / FILE, frozenset(project.catalog.jobs)
        zone, defaults = project.settings.timezone, project.settings.defaults
    else:
        project = None
        target, taken, zone, defaults = folder / "jobs.d" / FILE, frozenset(), host_timezone(), {}
    around = Surroundings(_home, host_timezone(), zone, current_user(), socket.gethostname())
    written, names, left = jobs_file(reading, taken, around)
    _check(written, defaults)
    if os.path.lexists(target):
        raise UsageError(
            f"{target} is there already, nothing was written", hint=f"move it away: mv {target} {target}.old"
        )
    files = [] if project is not None else init(folder, example=False)
    try:
        return Carried((*files, write_new(target, written)), tuple(names), tuple(left))
    except OSError as error:
        raise UsageError(f"{error.filename or target} cannot be written: {error.strerror}") from error


def _check(text: str, defaults: Mapping[str, Any]) -> None:
    """Check that the new files are valid."""
    sound, _ = check_defaults(defaults, ())
    problems = read_jobs(read_text(text, FILE), sound).problems
    if problems:
        report = "\n".join(f"{problem.path}: {problem.message}" for problem in problems)
        raise CrontabError(
            f"some of its lines do not fit the project:\n{report}", hint="leave them out, or change defaults"
        )


def _is_user(word: str) -> bool:
    try:
        pwd.getpwnam(word)
    except (KeyError, ValueError, UnicodeError):
        return word in _USUAL_USERS
    return shutil.which(word) is None


def _home(user: str | None) -> str:
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())).pw_dir
    except KeyError:
        return "/"
