"""Find and read the job files that may be edited from outside: by name, below ``jobs_dir``, never through a link."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from runner._dataclass import dataclass
from runner.catalog.files import find_files
from runner.errors import CannotEdit, UnknownFile, UsageError
from runner.host.regular import read_at_most
from runner.host.replace_file import folder_below
from runner.host.trust import belongs, closing_hint, untrusted
from runner.settings.discovery import SETTINGS_FILE

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.settings import Settings

MOST_BYTES = 256 * 1024
"""The largest file that can be edited. Larger ones take too long to check while somebody types."""
ON_THE_HOST = "edit it on the host"
_SUFFIXES = (".yaml", ".yml")
_HIDDEN = (".", "#", "~")
"""The reader of job files skips names that begin with one of these."""
_NEW_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Location:
    """A job file, which need not exist: its name relative to the project, its path, and the folders to go through."""

    name: str
    path: Path
    folders: tuple[str, ...]

    @property
    def file(self) -> str:
        """The last part of the name."""
        return self.path.name


@dataclass(frozen=True, slots=True)
class FileText:
    """A job file as it was read. The lines of ``text`` end with ``\\n``, whatever they end with in the file."""

    name: str
    text: str
    digest: str
    crlf: bool = False
    bom: bool = False
    status: os.stat_result | None = field(default=None, compare=False, repr=False)

    def encode(self, text: str) -> bytes:
        """Return another text as it is to be written: line ends and byte order mark as in this file."""
        return encode(text, crlf=self.crlf, bom=self.bom)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A job file in the list of all: ``reason`` says why it cannot be edited here, and is None if it can."""

    name: str
    size: int
    jobs: int
    problems: int
    reason: str | None


def locate(settings: Settings, name: str) -> Location:
    """Return the location of the job file ``name``.

    Raises:
        UnknownFile: the name leads out of the folders of jobs, or is not one that is read as a job file.
    """
    parts = name.split("/")
    path = settings.project.joinpath(*parts) if all(map(_is_plain, parts)) else None
    if path is None or not name.endswith(_SUFFIXES) or path.stem.endswith("~"):
        raise _unknown(name)
    if not any(folder.is_relative_to(settings.project) and path.is_relative_to(folder) for folder in settings.jobs_dir):
        raise _unknown(name)
    if path.parent == settings.project and path.name.startswith(f"{Path(SETTINGS_FILE).stem}."):
        raise _unknown(name)  # settings decide who may do what
    return Location(name, path, tuple(parts[:-1]))


def check_new_name(name: str) -> None:
    """Refuse a name for a new file that would be awkward in a shell.

    Raises:
        UsageError: with the characters that it may have.
    """
    last = name.rpartition("/")[2]
    if not _NEW_NAME.fullmatch(last):
        raise UsageError(
            f"{last!r} cannot be the name of a new file",
            hint="use 1 to 100 letters, digits, dots, dashes, or underscores, and end it with .yaml",
        )


@contextmanager
def opened_folder(settings: Settings, at: Location) -> Iterator[int]:
    """Open the folder of a job file, and yield its descriptor.

    Raises:
        UnknownFile: there is no such folder.
        CannotEdit: it is a symbolic link, or other users may write to it or to a folder above it in the project.
    """
    trust = settings.trust

    def check(path: Path, status: os.stat_result) -> None:
        shown = path.relative_to(settings.project).as_posix()
        if trust.is_open(path, status):
            raise CannotEdit(f"anybody may write to the folder {shown}", hint=closing_hint(path, status, shown))
        owner = trust.stranger(path, status.st_uid)
        if owner is not None:
            raise CannotEdit(f"{shown}: {belongs(owner, 'folder')}")

    with ExitStack() as opened:
        try:
            folder = opened.enter_context(folder_below(settings.project, at.folders, check))
        except FileNotFoundError:
            raise UnknownFile(f"there is no folder {'/'.join(at.folders)}", hint="create it on the host") from None
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise CannotEdit(f"{at.name}: one of its folders is a symbolic link", hint=ON_THE_HOST) from None
            raise CannotEdit(f"{at.name}: {_reason(error)}") from None
        yield folder


def read_in(settings: Settings, folder: int, at: Location) -> FileText | None:
    """Read a job file in its open folder; None if there is none.

    Raises:
        CannotEdit: it is a symbolic link, not a regular file, too large, not UTF-8, or others may write to it.
    """
    try:
        descriptor = os.open(at.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotEdit(f"{at.name}: {_reason(error)}", hint=ON_THE_HOST) from None
    try:
        status = os.fstat(descriptor)
        reason = _fault_of(settings, at, status)
        if reason is not None:
            raise CannotEdit(f"{at.name} {reason}", hint=ON_THE_HOST)
        data = read_at_most(descriptor, MOST_BYTES)
    finally:
        os.close(descriptor)
    return _decoded(at, data, status)


def read_file(project: Project, name: str) -> FileText:
    """Read a job file.

    Raises:
        UnknownFile: there is none of that name.
        CannotEdit: as :func:`read_in` and :func:`opened_folder` do.
    """
    at = locate(project.settings, name)
    with opened_folder(project.settings, at) as folder:
        found = read_in(project.settings, folder, at)
    if found is None:
        raise _unknown(name)
    return found


def list_files(project: Project) -> list[FileEntry]:
    """Return all job files, in the order in which they are read."""
    settings, catalog = project.settings, project.catalog
    counts: dict[str, int] = {}
    for _, file in catalog.jobs.lines.values():
        counts[file] = counts.get(file, 0) + 1
    faults: dict[str, int] = {}
    for problem in catalog.problems:
        faults[problem.file] = faults.get(problem.file, 0) + 1
    listing = find_files(settings.jobs_dir, settings.project, settings.trust)
    return [
        FileEntry(
            found.shown,
            found.signature[0],
            counts.get(found.shown, 0),
            faults.get(found.shown, 0),
            _obstacle(settings, found.shown),
        )
        for found in listing.files
    ]


def digest_of(data: bytes) -> str:
    """Return the digest that names a version of a file."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def encode(text: str, *, crlf: bool = False, bom: bool = False) -> bytes:
    """Return a text as it is to be written. The last line gets an end if it has none.

    Raises:
        UsageError: it is too long, or has a character that UTF-8 cannot encode.
    """
    text = text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")
    if text and not text.endswith("\n"):
        text += "\n"  # a reader takes a file without it for one that is still being written
    try:
        data = ((_BOM if bom else "") + (text.replace("\n", "\r\n") if crlf else text)).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"U+{ord(text[error.start]):04X} cannot be written as UTF-8", hint="remove it") from None
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"the file would have {len(data):,} bytes, at most {MOST_BYTES:,} can be edited here",
            hint="split it into several files, or edit it on the host",
        )
    return data


def _is_plain(part: str) -> bool:
    return part not in ("", ".", "..") and not part.startswith(_HIDDEN) and part.isprintable() and "\\" not in part


def _unknown(name: str) -> UnknownFile:
    return UnknownFile(f"there is no job file {name!r}", hint="the list of job files has all names")


def _fault_of(settings: Settings, at: Location, status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_nlink > 1:
        return "has several hard links, and saving would leave the others as they are"
    if status.st_size > MOST_BYTES:
        return f"has {status.st_size:,} bytes, at most {MOST_BYTES:,} can be edited here"
    fault = untrusted(settings.trust, at.path, status, at.name)
    return None if fault is None else f"is not trusted: {fault}"


def _decoded(at: Location, data: bytes, status: os.stat_result) -> FileText:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise CannotEdit(f"{at.name} is not UTF-8", hint=ON_THE_HOST) from None
    crlf = "\r\n" in text and text.count("\r\n") == text.count("\n")
    plain = text.removeprefix(_BOM).replace("\r\n", "\n").replace("\r", "\n")
    return FileText(at.name, plain, digest_of(data), crlf, text.startswith(_BOM), status)


def _obstacle(settings: Settings, name: str) -> str | None:
    """Return the reason why a file of the list cannot be edited, as far as its folder and its status tell."""
    try:
        at = locate(settings, name)
    except UnknownFile:
        return "it is outside the project's folder"
    try:
        with opened_folder(settings, at) as folder:
            status = os.stat(at.file, dir_fd=folder, follow_symlinks=False)
    except CannotEdit as error:
        return error.message
    except OSError as error:
        return _reason(error)
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    return _fault_of(settings, at, status)


def _reason(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a symbolic link"
    return (error.strerror or str(error)).lower()
