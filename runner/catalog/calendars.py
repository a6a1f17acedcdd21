"""The calendars of a project, which are read from files or a library on first use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runner.catalog.calendar_sources import country, library_version, read_dates
from runner.catalog.files import signature_of
from runner.host.regular import open_regular, read_at_most, read_regular
from runner.host.trust import NAMED, Trust, closing_hint
from runner.model.message import advise, message_of
from runner.model.value_type import did_you_mean
from runner.schedule.coverage import CalendarFault, Coverage, Days
from runner.yaml_reader.document import Document, source_of
from runner.yaml_reader.reader import MAX_BYTES, read_bytes

if TYPE_CHECKING:
    from runner.yaml_reader.problem import Problem

MOST_BYTES = 8 * 1024**2
"""The largest calendar file, in bytes."""

Source = str | tuple[str, ...]
"""As in :class:`runner.model.slot_rule.CalendarSource`."""


class Calendars:
    """The calendars that ``calendars:`` declares; each is read on first use.

    Args:
        declared: the sources by name.
        folder: the folder to which paths are relative.
        trust: the users whose files are read.
        settings_files: the files that declare the calendars, for the positions of problems.
        former: earlier calendars of the project; their content is used for calendars that cannot be read now.
    """

    def __init__(
        self,
        declared: Mapping[str, Source] = MappingProxyType({}),
        folder: Path = Path(),
        trust: Trust = NAMED,
        settings_files: Sequence[Path] = (),
        former: Calendars | None = None,
    ) -> None:
        self.declared = declared
        self._folder, self._trust, self._settings_files = folder, trust, settings_files
        self._read: dict[str, Coverage] = {}
        self._faults: dict[str, str] = {}
        self._versions: dict[str, Any] = {}
        self._former: Mapping[str, Coverage] = {}
        if former is not None:
            self.keep(former)

    def __call__(self, name: str) -> Coverage:
        """Return a calendar.

        Raises:
            CalendarFault: it is not declared, or it cannot be read and never could.
        """
        if name not in self.declared:
            raise CalendarFault(f"runner.yaml has no calendar {name}{did_you_mean(name, self.declared)}")
        if name not in self._read and name not in self._faults:
            self._load(name)
        found = self._read.get(name)
        if found is None:
            raise CalendarFault(f"its calendar {name} cannot be read: {self._faults[name]}")
        return found

    def has(self, name: str) -> bool:
        """Return whether a calendar has been read."""
        return name in self._read

    def keep(self, former: Calendars) -> None:
        """Use the content that ``former`` had read for calendars that cannot be read now."""
        self._former = {
            name: coverage
            for name, coverage in former._read.items()
            if former.declared.get(name) == self.declared.get(name)
        }

    @property
    def fingerprint(self) -> list[Any]:
        """JSON values that change when a calendar does; no calendar is read."""
        return [
            [name, list(source) if isinstance(source, tuple) else source, self._version(name)]
            for name, source in sorted(self.declared.items())
        ]

    def read_all(self) -> dict[str, str]:
        """Read all calendars; return the messages about those that cannot be read, by name."""
        for name in self.declared:
            if name not in self._read and name not in self._faults:
                self._load(name)
        return dict(self._faults)

    def renewed(self) -> Calendars:
        """Return these calendars, or new ones if a file that was read has changed."""
        loaded = [*self._read, *self._faults]
        if all(self._look(name) == self._versions[name] for name in loaded):
            return self
        new = Calendars(self.declared, self._folder, self._trust, self._settings_files, self)
        for name in loaded:
            new._load(name)
        return new

    def problems(self) -> list[Problem]:
        """Read all calendars; return their problems, at the positions where they are declared."""
        faults = self.read_all()
        if not faults:
            return []
        documents = [read_bytes(read_regular(file, MAX_BYTES), file.name) for file in self._settings_files]
        documents = documents or [Document("runner.yaml")]
        for name, fault in faults.items():
            path = ("calendars", name)
            source_of(documents, path).report(path, fault, fits=True)
        return [problem for document in documents for problem in document.problems]

    def _load(self, name: str) -> None:
        # Before reading: a change in between must not be mistaken for the content that was read.
        self._version(name)
        try:
            self._read[name] = self._coverage(self.declared[name])
        except CalendarFault as fault:
            self._faults[name] = message_of(fault)
            if name in self._former:
                self._read[name] = self._former[name]

    def _version(self, name: str) -> Any:
        if name not in self._versions:
            self._versions[name] = self._look(name)
        return self._versions[name]

    def _look(self, name: str) -> Any:
        """Return a value that changes whenever the source of a calendar changes."""
        source = self.declared[name]
        if isinstance(source, tuple):
            return None
        form, _, rest = source.partition(":")
        if form != "file":
            return library_version()
        try:
            return signature_of((self._folder / rest).stat())
        except OSError:
            return None

    def _coverage(self, source: Source) -> Coverage:
        if isinstance(source, tuple):
            return Days(dict.fromkeys(map(date.fromisoformat, source), ""))
        form, _, rest = source.partition(":")
        return self._read_file(self._folder / rest) if form == "file" else country(rest)

    def _read_file(self, path: Path) -> Coverage:
        data = self._bytes(path)
        if path.suffix.lower() == ".ics":
            from runner.catalog.icalendar_file import read_icalendar  # start-up time: most projects have no such file

            return read_icalendar(data, path.name)
        return read_dates(data, path.name)

    def _bytes(self, path: Path) -> bytes:
        try:
            descriptor = open_regular(path)
            try:
                status = os.fstat(descriptor)
                if self._trust.is_open(path, status):
                    hint = closing_hint(path, status, str(path))
                    raise CalendarFault(advise(f"{path} decides when jobs run, and anybody may write to it", hint))
                owner = self._trust.stranger(path, status.st_uid)
                if owner is not None:
                    advice = f"if you trust {owner}, name the project with --project"
                    raise CalendarFault(advise(f"{path} decides when jobs run, and belongs to {owner}", advice))
                data = read_at_most(descriptor, MOST_BYTES)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CalendarFault(
                advise(f"{path} cannot be read: {error.strerror}", "correct the path or its mode")
            ) from None
        if len(data) > MOST_BYTES:
            raise CalendarFault(advise(f"{path} is larger than {MOST_BYTES // 1024**2} MiB", "remove old entries"))
        return data
