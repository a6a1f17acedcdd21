"""Keep the catalog of a running process up to date while job files are edited.

The earlier jobs of a file stay in force while it has problems, and so does a job while two files declare it. A file
that was just emptied or removed, or whose last line has no line break, may be half-written: it is read as it is once it
has not changed for a moment.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from runner.catalog.cache import Cache, CachedFile, is_young, matches
from runner.catalog.catalog import Catalog, Project, assemble, calendars_of, check_defaults, read_all, trust_of
from runner.catalog.files import Found, Listing, find_files, shown_as
from runner.host.regular import open_regular

UNSETTLED_SECONDS = 0.4
"""How long a file must be empty, gone, or without a final line break before it is taken as it is."""


class LiveCatalog:
    """Reads the changed job files of a project.

    Args:
        settings: the settings of the project.
        catalog: the catalog with which the process started.
    """

    def __init__(self, settings: Project, catalog: Catalog) -> None:
        self.catalog = catalog
        """The catalog in force; its ``problems`` are those of the current files."""
        self.kept: tuple[str, ...] = ()
        """The names of the files with problems whose earlier jobs are in force."""
        self._settings = settings
        self._calendars = catalog.calendars
        self._cache: Mapping[str, CachedFile] | None = None
        self._read: dict[str, CachedFile] = {}
        # The last valid state of files that were edited since `catalog` was read.
        self._sound = {path: file for path, file in catalog.read.items() if _is_sound(file)}
        self._listed: tuple[object, ...] = ()
        self._waiting: dict[str, float] = {}
        self._young: set[str] = set()
        self._looked = False

    @property
    def unsettled(self) -> bool:
        """Whether to call :meth:`look` again soon, because a file may be half-written or have changed unnoticed."""
        return bool(self._waiting or self._young)

    def follow(self, settings: Project) -> None:
        """Use the ``defaults`` and ``calendars`` of other settings from the next call of :meth:`look`."""
        if settings.defaults != self._settings.defaults:
            self._listed, self._cache = (), {}
            self._young.update(self._read)
        if calendars_of(settings).declared != self._calendars.declared:
            former, self._calendars = self._calendars, calendars_of(settings)
            self._calendars.keep(former)
            self._listed = ()
        self._settings = settings

    def look(self) -> bool:
        """Read the changed files; return whether :attr:`catalog` was replaced."""
        listing = find_files(self._settings.jobs_dir, self._settings.project, trust_of(self._settings))
        listed = ([(file.path, file.signature) for file in listing.files], list(listing.problems))
        self._calendars = self._calendars.renewed()
        if listed == self._listed and not self.unsettled:
            return self._take_calendars()
        # Until everything was read: after an interruption, the files are read again.
        self._listed = ()
        self._read = dict(self._settle(listing, self._read_changed(listing)))
        for path in list(self._sound):
            if path not in self._read:
                del self._sound[path]
        for path, file in self._read.items():
            if _is_sound(file):
                self._sound[path] = file
        in_force = {path: self._sound.get(path, file) for path, file in self._read.items()}
        self.kept = tuple(
            file.shown for file in listing.files if in_force.get(file.path) is not self._read.get(file.path)
        )
        former, found = self.catalog, assemble(listing, self._read, self._calendars)
        catalog = assemble(listing, in_force, self._calendars)
        if not catalog.jobs and any(file.lines for file in in_force.values()) and not catalog.broken:
            catalog = replace(former, calendars=self._calendars)  # there are more jobs than allowed
        self.catalog = _with_former(catalog, found, former)
        self._listed = listed
        if self.catalog.digests() != former.digests() or self.catalog.problems != former.problems:
            return True
        return self.catalog.calendars is not former.calendars

    def _take_calendars(self) -> bool:
        """Use the current calendars; return whether they differ from those of the catalog."""
        if self.catalog.calendars is self._calendars:
            return False
        self.catalog = replace(self.catalog, calendars=self._calendars)
        return True

    def _read_changed(self, listing: Listing) -> dict[str, CachedFile]:
        """Return the current content of the files that have changed."""
        defaults, problems = check_defaults(self._settings.defaults, self._settings.files)
        listing.problems += problems
        if self._cache is None:
            self._cache = Cache(
                self._settings.project,
                defaults,
                trust_of(self._settings),
                getattr(self._settings, "state_dir", None),
            ).load()
        changed = [
            file for file in listing.files if file.path in self._young or not matches(self._read.get(file.path), file)
        ]
        known = {file.path: self._cache[file.path] for file in changed if matches(self._cache.get(file.path), file)}
        self._cache = {}
        read = read_all((file for file in changed if file.path not in known), defaults)
        self._young = {path for path, file in read.items() if is_young(file.signature)}
        return {**known, **read}

    def _settle(self, listing: Listing, fresh: Mapping[str, CachedFile]) -> Iterator[tuple[str, CachedFile]]:
        """Yield the path and the state of file file that the catalog is made of."""
        now, first, self._looked = time.monotonic(), not self._looked, True
        present = dict.fromkeys(file.path for file in listing.files)
        unreadable = any(problem.severity == "error" for problem in listing.problems)
        for path in [path for path in self._waiting if path not in present and path not in self._read]:
            # A new file that was removed again before it was used: there is nothing to wait for.
            del self._waiting[path]
        for path in [*present, *(path for path in self._read if path not in present)]:
            former, new = self._read.get(path), fresh.get(path)
            if path in present and new is None:
                self._waiting.pop(path, None)
                if former is not None:
                    yield path, former
            elif not first and (self._wait(path, now) if new is None or _is_half(path) else self._done(path)):
                if former is not None:
                    yield path, former
            elif new is not None:
                yield path, new
            elif unreadable and former is not None:
                # Its folder could not be read, so the file may still exist.
                yield path, former
            else:
                continue
            if path not in present and former is not None:
                listing.files.append(Found(path, shown_as(path, self._settings.project), former.signature))

    def _wait(self, path: str, now: float) -> bool:
        """Return whether the current state of a file should not be used yet."""
        if now - self._waiting.setdefault(path, now) < UNSETTLED_SECONDS:
            return True
        return self._done(path)

    def _done(self, path: str) -> bool:
        self._waiting.pop(path, None)
        return False


def _is_sound(file: CachedFile) -> bool:
    return not file.broken and all(problem.severity != "error" for problem in file.problems)


def _is_half(path: str) -> bool:
    """Return whether a file is empty, is gone, or has no final line break."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            if file.seek(0, 2) == 0:
                return True
            file.seek(-1, 2)
            return file.read(1) not in (b"\n", b"\r")
    except OSError:
        return True


def _with_former(in_force: Catalog, found: Catalog, former: Catalog) -> Catalog:
    """Return ``in_force`` with the problems of ``found``, and the jobs of ``former`` that are invalid now."""
    jobs, before = in_force.jobs, former.jobs
    back = {name: before.line(name) for name in in_force.broken if name in before and name not in jobs}
    return replace(
        in_force,
        jobs=jobs.with_lines(back) if back else jobs,
        problems=found.problems,
        broken=MappingProxyType({name: at for name, at in in_force.broken.items() if name not in back}),
    )


def catalog_digest(digests: Mapping[str, str]) -> str:
    """Return the digest of a catalog from the digests of its jobs by name."""
    text = "\n".join(f"{name} {digests[name]}" for name in sorted(digests))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
