"""Cache the jobs of ``jobs.d``, so that the next command need not read the files again.

The cache is a text file in ``.runner/cache``: a header, the files, and one line per job. It is only an optimization: if
anything about it is wrong (owner, mode, checksum, another project, another version of this code), it is ignored, and
failing to write it is not an error.

A file is unchanged if its size, mtime, ctime, inode, device, mode, and owner are. A file is not cached while it is so
new that another change could leave all of these equal, because the clock of the file system is coarse.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from runner._version import __version__
from runner.catalog.files import Found, Signature
from runner.catalog.jobs_file import Entry, JobsFile
from runner.host.code import code_signature
from runner.host.state import is_own, is_private, may_make, read_private, replace_private
from runner.host.trust import NAMED, Trust
from runner.yaml_reader.problem import Problem

_FORMAT = 5
_FINE_SECONDS = 0.1
"""The resolution of file systems with fractions of a second: the tick of the kernel, at most 10 ms, and a margin."""
_COARSE_SECONDS = 2.5
"""The resolution of others: 2 s for FAT, otherwise 1 s, and a margin."""


@dataclass(slots=True)
class CachedFile:
    """A file as it was read. Its jobs are lines of the cache, which are parsed on demand."""

    signature: Signature
    lines: list[str]
    broken: list[tuple[str, int]]
    problems: list[Problem]
    misplaced: tuple[str, ...] = ()
    """The lines of jobs whose only problem is a misplaced placeholder; they are not written to the cache."""

    @classmethod
    def of(cls, found: JobsFile, signature: Signature) -> CachedFile:
        """Return the cache entry of a file that was just read."""
        lines = [line_of(entry) for entry in found.entries]
        misplaced = tuple(line_of(entry) for entry in found.misplaced)
        return cls(signature, lines, found.broken, found.problems, misplaced)


def line_of(entry: Entry) -> str:
    """Return the line of the cache for a job."""
    return "\t".join(map(str, entry))


def entry_of(line: str) -> Entry:
    """Return the job of a line of the cache."""
    name, at, digest, given, options = line.split("\t", 4)
    return Entry(name, int(at), digest, given, options)


class Cache:
    """The cache of one project's catalog."""

    def __init__(
        self, project: Path, defaults: Mapping[str, Any], trust: Trust = NAMED, state_dir: Path | None = None
    ) -> None:
        self.project = project
        self.folder = (state_dir or project / ".runner") / "cache"
        self.path = self.folder / "catalog.jsonl"
        # Everything that the content of the cache depends on, except the files.
        code = code_signature("catalog", "model", "params", "schedule", "yaml_reader")
        basis = [_FORMAT, __version__, code, str(project), os.geteuid(), astuple(trust), dict(defaults)]
        self.basis = hashlib.sha256(json.dumps(basis, sort_keys=True, default=str).encode()).hexdigest()

    def load(self) -> dict[str, CachedFile]:
        """Return the cached files by path; empty if there is no valid cache."""
        try:
            return self._load()
        except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
            return {}

    def _load(self) -> dict[str, CachedFile]:
        for folder in (self.folder.parent, self.folder):
            if not is_private(os.lstat(folder)) or not stat.S_ISDIR(os.lstat(folder).st_mode):
                return {}
        header, _, content = read_private(self.path).partition(b"\n")
        if header != self._header(content):
            return {}
        listed, *lines = content.decode().split("\n")
        cached: dict[str, CachedFile] = {}
        start = 0
        for path, signature, count, broken, problems in json.loads(listed):
            invalid = [(name, line) for name, line in broken]
            known = [Problem(*problem) for problem in problems]
            cached[path] = CachedFile(signature, lines[start : start + count], invalid, known)
            start += count
        return cached

    def save(self, files: Mapping[str, CachedFile]) -> None:
        """Replace the cache, without files that are too new. Never raises."""
        with contextlib.suppress(OSError):
            self._save({path: file for path, file in files.items() if _is_lasting(file.signature)})

    def _save(self, files: Mapping[str, CachedFile]) -> None:
        state = self.folder.parent
        if not files or not (is_own(state) or (not state.exists() and may_make(state.parent))):
            return  # written by root, the files would lock out the owner of the project
        listed = [
            [
                path,
                file.signature,
                len(file.lines),
                file.broken,
                [astuple(problem) for problem in file.problems],
            ]
            for path, file in files.items()
        ]
        lines = [json.dumps(listed, separators=(",", ":"))]
        for file in files.values():
            lines += file.lines
        content = "\n".join(lines).encode()
        self._make_folder()
        replace_private(self.path, self._header(content) + b"\n" + content)

    def _make_folder(self) -> None:
        state = self.folder.parent
        with contextlib.suppress(FileExistsError):
            os.mkdir(state, 0o700)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(state / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "w") as file:
                file.write("*\n")
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.folder, 0o700)

    def _header(self, content: bytes) -> bytes:
        checksum = hashlib.blake2b(content, digest_size=32).hexdigest()
        return f'{{"basis": "{self.basis}", "checksum": "{checksum}"}}'.encode()


def _is_lasting(signature: Signature) -> bool:
    # Whether a world-writable file is read depends on its mount, which is not part of the signature.
    return not is_young(signature) and not signature[5] & stat.S_IWOTH


def is_young(signature: Signature) -> bool:
    """Return whether a file was changed so recently that another change could leave its signature equal."""
    now = time.time_ns()
    _, mtime, ctime, *_ = signature
    # Unlike ctime, mtime can be set to any value, and then says nothing.
    return any(
        moment > now - 1e9 * (_FINE_SECONDS if moment % 1_000_000_000 else _COARSE_SECONDS)
        for moment in (ctime, mtime)
        if moment == ctime or moment <= now
    )


def matches(cached: CachedFile | None, found: Found) -> bool:
    """Return whether ``found`` is still the file that was cached."""
    return cached is not None and cached.signature == found.signature
