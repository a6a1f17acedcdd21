"""Finding and opening the files of ``jobs.d``, and refusing those that anybody could have written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.spec.document import Document
from runner.spec.problem import Problem
from runner.spec.reader import MAX_BYTES, read_bytes

MAX_FOLDERS = 10_000

Signature = list[int]
"""What tells that a file is the one that was read: size, mtime and ctime (ns), inode, device, mode, owner."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read: its path, how messages name it, and its signature when it was found."""

    path: str
    shown: str
    signature: Signature


@dataclass(slots=True)
class Listing:
    """What a walk over folders found."""

    files: list[Found]
    problems: list[Problem]
    warnings: list[str]


def signature_of(status: os.stat_result) -> Signature:
    """Return what is compared to know a file again. ctime and inode catch a file put in place of another."""
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
    """Return ``path`` relative to ``base`` where it lies below it."""
    prefix = f"{base}{os.sep}"
    return path[len(prefix) :] if path.startswith(prefix) else path


def find_files(roots: Iterable[Path], base: Path) -> Listing:
    """List the jobs files below ``roots``, in order; a root may be a file. ``base`` is what names are relative to."""
    listing = Listing([], [], [])
    seen: set[tuple[int, int]] = set()
    for root in roots:
        path = os.fspath(root)
        try:
            status = os.stat(path)
        except OSError as error:
            listing.problems.append(_at(shown_as(path, base), f"can not be read: {_reason(error)}"))
            continue
        if stat.S_ISDIR(status.st_mode):
            for found in _walk(path, base, listing, seen):
                _add(found, base, listing, seen)
        else:
            _add(path, base, listing, seen)
    return listing


def _walk(top: str, base: Path, listing: Listing, seen: set[tuple[int, int]]) -> Iterator[str]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        shown = shown_as(folder, base)
        try:
            status = os.stat(folder)
            key = (status.st_dev, status.st_ino)
            if key in seen:
                continue  # a loop of symbolic links, or a folder that was named twice
            seen.add(key)
            if len(seen) > MAX_FOLDERS * 20:
                listing.problems.append(_at(shown, "holds too many files to be a folder of jobs, name a smaller one"))
                return
            if status.st_mode & stat.S_IWOTH:
                listing.problems.append(_at(shown, f"anybody may write to this folder, run: chmod o-w {shown}"))
                continue
            with os.scandir(folder) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            listing.problems.append(_at(shown, f"can not be read: {_reason(error)}"))
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


def _add(path: str, base: Path, listing: Listing, seen: set[tuple[int, int]]) -> None:
    shown = shown_as(path, base)
    try:
        status = os.stat(path)
    except OSError as error:
        reason = "the file it links to does not exist" if os.path.islink(path) else _reason(error)
        listing.problems.append(_at(shown, f"can not be read: {reason}"))
        return
    key = (status.st_dev, status.st_ino)
    if key not in seen:  # else the same file under a second name
        seen.add(key)
        listing.files.append(Found(path, shown, signature_of(status)))


def open_file(found: Found) -> tuple[Document, Signature]:
    """Read a file. Whatever is wrong with it becomes a problem of the document."""
    document = Document(found.shown)
    try:
        # A pipe that nobody writes to would block for ever.
        descriptor = os.open(found.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return document.refuse(f"can not be read: {_reason(error)}"), found.signature
    try:
        status = os.fstat(descriptor)
        signature = signature_of(status)
        fault = _untrusted(found, status)
        if fault is not None:
            return document.refuse(fault), signature
        data = _read(descriptor, status.st_size)
    except OSError as error:
        return document.refuse(f"can not be read: {_reason(error)}"), found.signature
    finally:
        os.close(descriptor)
    return read_bytes(data, found.shown), signature


def _read(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, MAX_BYTES + 1)
    while len(data) <= MAX_BYTES:
        more = os.read(descriptor, MAX_BYTES + 1 - len(data))
        if not more:
            break
        data += more
    return data if len(data) <= MAX_BYTES else data.ljust(size)


def _untrusted(found: Found, status: os.stat_result) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file, remove it or rename it"
    if status.st_mode & stat.S_IWOTH:
        return f"anybody may write to this file, run: chmod o-w {found.shown}"
    if os.path.islink(found.path):
        folder = os.path.dirname(os.path.realpath(found.path))
        if os.stat(folder).st_mode & stat.S_IWOTH:
            return f"links to a file in {folder}, where anybody may write; copy it here"
    return None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _at(shown: str, message: str) -> Problem:
    return Problem(shown, 1, 1, "", message)
