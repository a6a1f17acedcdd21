"""Save, create, and delete job files on behalf of a person, as the dashboard and the REST API do."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.actions.check_edit import Checked, check_text
from runner.actions.git_commit import Commit, commit_file
from runner.actions.job_files import (
    FileText,
    Location,
    check_new_name,
    digest_of,
    encode,
    locate,
    opened_folder,
    read_file,
    read_in,
)
from runner.errors import CannotEdit, FileChanged, InvalidSpec
from runner.host.replace_file import remove_file, staged, take_name
from runner.host.state import state_folder
from runner.ledger.audit import note_edit
from runner.yaml_reader.problem import summary

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.settings import Settings

LOCK_FILE = "edit.lock"
LOCK_SECONDS = 30.0
"""How long to wait for an edit that is being saved by somebody else, its commit included."""
_POLL_SECONDS = 0.05
_mutex = threading.Lock()


@dataclass(frozen=True, slots=True)
class Saved:
    """The result of an edit: ``digest`` is that of the file now, and None if it was deleted."""

    name: str
    digest: str | None
    changed: bool
    commit: Commit


def save_file(project: Project, name: str, text: str, *, digest: str | None, by: str, comment: str = "") -> Saved:
    """Save a job file, or create it. It is written beside the old one first, and then takes its name.

    Args:
        project: whose file it is.
        name: relative to the project, such as ``jobs.d/reports.yaml``.
        text: the whole content.
        digest: that of the version that was edited; None for a new file.
        by: the person, for the audit log and as the author of the commit.
        comment: the reason, for both.

    Raises:
        InvalidSpec: the file would have problems, or would cause some in other files. They are in the message.
        FileChanged: the file is not the one that was edited any more, or a new file exists already.
        UnknownFile: the name leads out of the folders of jobs, or its folder does not exist.
        CannotEdit: the file or its folder is a symbolic link, others may write to it, or the disk is full.
        UsageError: the text is too long, or the name of a new file is awkward.
        Unavailable: Redis cannot be reached. Nothing is saved that is not in the audit log.
    """
    at = locate(project.settings, name)
    if digest is None:
        check_new_name(name)
    with opened_folder(project.settings, at) as folder:
        _check_version(at, read_in(project.settings, folder, at), digest)  # before anything that takes longer
    _check_sound(check_text(project, name, text), "correct the file; nothing was saved")
    with _saving(project.settings), opened_folder(project.settings, at) as folder:
        before = read_in(project.settings, folder, at)
        _check_version(at, before, digest)
        data = before.encode(text) if before is not None else encode(text)
        now = digest_of(data)
        if before is not None and before.digest == now:
            return Saved(name, now, changed=False, commit=Commit())
        did = "changed" if before is not None else "created"
        with _reported(at), staged(folder, data, before.status if before is not None else None):
            note_edit(project.ledger, by=by, comment=_note(did, name, now, comment))
            take_name(folder, at.file, replaces=before is not None)
        commit = commit_file(at.path, by=by, message=_message(did, name, comment))
    project.look(at_once=True)
    return Saved(name, now, changed=True, commit=commit)


def delete_file(project: Project, name: str, *, digest: str, by: str, comment: str = "") -> Saved:
    """Delete a job file. Its jobs are gone then, and what is queued of them waits for a job of the same name.

    Raises:
        InvalidSpec: it would cause problems in other files, such as a flow that runs one of its jobs.
        FileChanged, UnknownFile, CannotEdit, Unavailable: as :func:`save_file`.
    """
    at = locate(project.settings, name)
    _check_version(at, read_file(project, name), digest)
    _check_sound(check_text(project, name, None), "change these files first; nothing was deleted")
    with _saving(project.settings), opened_folder(project.settings, at) as folder:
        _check_version(at, read_in(project.settings, folder, at), digest)
        note_edit(project.ledger, by=by, comment=_note("deleted", name, None, comment))
        with _reported(at):
            remove_file(folder, at.file)
        commit = commit_file(at.path, by=by, message=_message("deleted", name, comment))
    project.look(at_once=True)
    return Saved(name, None, changed=True, commit=commit)


def _check_sound(checked: Checked, hint: str) -> None:
    faults = [problem for problem in checked.problems if problem.severity == "error"]
    if faults:
        lines = "\n".join(map(str, faults))
        raise InvalidSpec(f"{lines}\n{summary(faults)}", hint=hint)


def _check_version(at: Location, before: FileText | None, digest: str | None) -> None:
    if (before.digest if before is not None else None) == digest:
        return
    if digest is None:
        raise FileChanged(f"{at.name} exists already", hint="open it, or choose another name")
    if before is None:
        raise FileChanged(f"{at.name} was deleted meanwhile", hint="save it as a new file if it is still wanted")
    raise FileChanged(f"{at.name} was changed meanwhile", hint="compare both versions, then save again")


@contextmanager
def _saving(settings: Settings) -> Iterator[None]:
    """Let only one process of this host, and one thread of it, save at a time.

    Raises:
        CannotEdit: another edit takes too long.
        InvalidSettings: ``state_dir`` cannot be used.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    if not _mutex.acquire(timeout=LOCK_SECONDS):
        raise _busy()
    try:
        with state_folder(settings.state_dir) as state:
            descriptor = state.open(LOCK_FILE, os.O_RDWR | os.O_CREAT)
            try:
                while not _lock(descriptor):
                    if time.monotonic() > deadline:
                        raise _busy()
                    time.sleep(_POLL_SECONDS)
                yield
            finally:
                os.close(descriptor)
    finally:
        _mutex.release()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
            return False
        raise CannotEdit(f"{LOCK_FILE} cannot be locked: {error.strerror}") from None
    return True


def _busy() -> CannotEdit:
    return CannotEdit(f"another edit has not been saved for {LOCK_SECONDS:g} s", hint="try again")


@contextmanager
def _reported(at: Location) -> Iterator[None]:
    """Turn what goes wrong while a file is written into an error that says so."""
    try:
        yield
    except FileExistsError:
        raise FileChanged(f"{at.name} exists already", hint="open it, or choose another name") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotEdit(f"{at.name} was not changed: {reason}", hint="correct it on the host") from None


def _note(did: str, name: str, digest: str | None, comment: str) -> str:
    """Return the comment of the audit entry."""
    version = f", {digest[: len('sha256:') + 12]}" if digest is not None else ""
    return f"{did} {name}{version}" + (f": {comment}" if comment else "")


def _message(did: str, name: str, comment: str) -> str:
    """Return the commit message."""
    verb = {"changed": "Change", "created": "Create", "deleted": "Delete"}[did]
    return f"{comment}\n\n{verb} {name} in the browser." if comment else f"{verb} {name}"
