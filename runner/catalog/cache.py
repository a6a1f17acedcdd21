"""Cache the content of ``jobs.d``, so that the next command need not read it again.

The cache is a text file of JSON lines in ``.runner/cache``: a header, the files, then one line a job. It is a
convenience and nothing rests on it: whatever is odd about it (owner, mode, checksum, another project,
another version of this code) makes it as good as absent, and failing to write it is silent.

A file counts as unchanged if size, mtime, ctime, inode, device, mode and owner are. A file so young that
a second change could leave all of these as they are (the clock of the file system is coarse) is not cached.
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
"""File systems that keep fractions of a second step with the kernel's tick, 10 ms at most."""
_COARSE_SECONDS = 2.5
"""FAT steps by 2 s, others without fractions by 1 s."""


@dataclass(slots=True)
class CachedFile:
    """A file as it was read: its jobs as lines of the cache, built into entries when asked for."""

    signature: Signature
    lines: list[str]
    broken: list[tuple[str, int]]
    problems: list[Problem]
    misplaced: tuple[str, ...] = ()
    """Lines of jobs that are broken by a misplaced placeholder alone; not in the cache."""

    @classmethod
    def of(cls, found: JobsFile, signature: Signature) -> CachedFile:
        """Return the cache entry of a file that was just read."""
        lines = [line_of(entry) for entry in found.entries]
        misplaced = tuple(line_of(entry) for entry in found.misplaced)
        return cls(signature, lines, found.broken, found.problems, misplaced)


def line_of(entry: Entry) -> str:
    """Return the line of the cache that holds a job."""
    return "\t".join(map(str, entry))


def entry_of(line: str) -> Entry:
    """Return the job that a line of the cache holds."""
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
        # All that the content of the cache depends on besides the files.
        code = code_signature("catalog", "model", "params", "schedule", "yaml_reader")
        basis = [_FORMAT, __version__, code, str(project), os.geteuid(), astuple(trust), dict(defaults)]
        self.basis = hashlib.sha256(json.dumps(basis, sort_keys=True, default=str).encode()).hexdigest()

    def load(self) -> dict[str, CachedFile]:
        """Return the cached files by path; empty if there is no cache to be trusted."""
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
            told = [Problem(*problem) for problem in problems]
            names = [(name, line) for name, line in broken]
            cached[path] = CachedFile(signature, lines[start : start + count], names, told)
            start += count
        return cached

    def save(self, files: Mapping[str, CachedFile]) -> None:
        """Replace the cache, files too young to be known again left out. Never raises."""
        with contextlib.suppress(OSError):
            self._save({path: each for path, each in files.items() if _is_lasting(each.signature)})

    def _save(self, files: Mapping[str, CachedFile]) -> None:
        state = self.folder.parent
        if not files or not (is_own(state) or (not state.exists() and may_make(state.parent))):
            return  # root, in somebody else's project, would leave files there that lock its owner out
        listed = [
            [
                path,
                each.signature,
                len(each.lines),
                each.broken,
                [astuple(problem) for problem in each.problems],
            ]
            for path, each in files.items()
        ]
        lines = [json.dumps(listed, separators=(",", ":"))]
        for each in files.values():
            lines += each.lines
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
    # Whether a file that anybody may write is read depends on its mount, which the signature does not tell.
    return not is_young(signature) and not signature[5] & stat.S_IWOTH


def is_young(signature: Signature) -> bool:
    """Return whether a file was changed so lately that it could be changed again without a trace."""
    now = time.time_ns()
    _, mtime, ctime, *_ = signature
    # mtime can be set to anything and then tells nothing; ctime cannot.
    return any(
        moment > now - 1e9 * (_FINE_SECONDS if moment % 1_000_000_000 else _COARSE_SECONDS)
        for moment in (ctime, mtime)
        if moment == ctime or moment <= now
    )


def matches(cached: CachedFile | None, found: Found) -> bool:
    """Return whether ``found`` is still the file that was cached."""
    return cached is not None and cached.signature == found.signature
