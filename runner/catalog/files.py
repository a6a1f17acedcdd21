"""Find and open the files of ``jobs.d``, and refuse those that others may write to."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from runner._dataclass import dataclass
from runner.host.regular import open_regular, read_at_most
from runner.host.trust import NAMED, Trust, belongs, closing_hint, untrusted
from runner.model.message import advise
from runner.yaml_reader.document import Document
from runner.yaml_reader.problem import Problem
from runner.yaml_reader.reader import MAX_BYTES, read_bytes

MAX_FOLDERS = 10_000

Signature = list[int]
"""The values that identify a version of a file: size, mtime and ctime (ns), inode, device, mode, and owner."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read: its path, its name in messages, and its signature when it was found."""

    path: str
    shown: str
    signature: Signature
    trust: Trust = NAMED
    """The users whose files are read."""
    data: bytes | None = None
    """The content to use instead of the file's, if the file is being edited."""


@dataclass(slots=True)
class Listing:
    """The result of a walk over folders."""

    files: list[Found]
    problems: list[Problem]
    warnings: list[str]


def signature_of(status: os.stat_result) -> Signature:
    """Return the values that identify a version of a file. A replaced file has another ctime and inode."""
    return [
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        status.st_dev,
        status.st_mode,
        status.st_uid,
    ]


def shown_as(path: str, base: Path) -> str:
    """Return ``path`` relative to ``base``, or unchanged if it is not below ``base``."""
    prefix = f"{base}{os.sep}"
    return path[len(prefix) :] if path.startswith(prefix) else path


def find_files(roots: Iterable[Path], base: Path, trust: Trust = NAMED) -> Listing:
    """List the jobs files below ``roots``, in order.

    Args:
        roots: folders, and files.
        base: the folder to which file names in messages are relative.
        trust: the users whose files and folders are read.
    """
    listing = Listing([], [], [])
    seen: set[tuple[int, int]] = set()
    for root in roots:
        path = os.fspath(root)
        try:
            status = os.stat(path)
        except OSError as error:
            listing.problems.append(_at(shown_as(path, base), f"cannot be read: {_reason(error)}"))
            continue
        if stat.S_ISDIR(status.st_mode):
            for found in _walk(path, base, listing, seen, trust):
                _add(found, base, listing, seen, trust)
        else:
            _add(path, base, listing, seen, trust)
    return listing


def _walk(top: str, base: Path, listing: Listing, seen: set[tuple[int, int]], trust: Trust) -> Iterator[str]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        shown = shown_as(folder, base)
        try:
            status = os.stat(folder)
            key = (status.st_dev, status.st_ino)
            if key in seen:
                continue  # a loop of symbolic links, or a folder that is named twice
            seen.add(key)
            if len(seen) > MAX_FOLDERS * 20:
                listing.problems.append(_at(shown, "has too many files for a folder of jobs, use a smaller folder"))
                return
            if trust.is_open(folder, status):
                advice = closing_hint(folder, status, shown)
                listing.problems.append(_at(shown, f"anybody may write to this folder, {advice}"))
                continue
            owner = trust.stranger(folder, status.st_uid)
            if owner is not None:
                listing.problems.append(_at(shown, belongs(owner, "folder")))
                continue
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            listing.problems.append(_at(shown, f"cannot be read: {_reason(error)}"))
            continue
        folders = []
        for entry in here:
            name = entry.name
            if name.startswith((".", "#", "~")):
                continue
            if name.endswith((".yaml", ".yml")) and not _is_folder(entry):
                if not name.rpartition(".")[0].endswith("~"):
                    yield entry.path
            elif _is_folder(entry):
                folders.append(entry.path)
            elif name.lower().endswith((".yaml", ".yml")):
                listing.warnings.append(f"{shown_as(entry.path, base)} is not read, rename it to end in .yaml")
        waiting.extend(reversed(folders))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _add(path: str, base: Path, listing: Listing, seen: set[tuple[int, int]], trust: Trust) -> None:
    shown = shown_as(path, base)
    try:
        status = os.stat(path)
    except OSError as error:
        reason = "the target of the link does not exist" if os.path.islink(path) else _reason(error)
        listing.problems.append(_at(shown, f"cannot be read: {reason}"))
        return
    key = (status.st_dev, status.st_ino)
    if key not in seen:  # otherwise it is the same file under another name
        seen.add(key)
        listing.files.append(Found(path, shown, signature_of(status), trust))


def open_file(found: Found) -> tuple[Document, Signature]:
    """Read a file. Errors become problems of the document."""
    if found.data is not None:
        return read_bytes(found.data, found.shown), found.signature
    document = Document(found.shown)
    try:
        descriptor = open_regular(found.path)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return document.refuse(advise("is not a regular file", "remove it or rename it")), found.signature
        return document.refuse(f"cannot be read: {_reason(error)}"), found.signature
    try:
        status = os.fstat(descriptor)
        signature = signature_of(status)
        fault = untrusted(found.trust, found.path, status, found.shown)
        if fault is not None:
            return document.refuse(fault), signature
        data = read_at_most(descriptor, MAX_BYTES)
    except OSError as error:
        return document.refuse(f"cannot be read: {_reason(error)}"), found.signature
    finally:
        os.close(descriptor)
    return read_bytes(data, found.shown, status.st_size), signature


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _at(shown: str, message: str) -> Problem:
    return Problem(shown, 1, 1, "", message)
