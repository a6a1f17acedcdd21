"""Types of values that only options of ``runner.yaml`` have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path as Folder
from types import MappingProxyType
from typing import Any

from runner._dataclass import dataclass
from runner.host.users import NoHome, expand_home
from runner.model.message import advise
from runner.model.option import INVALID, Path, Report, Section, Text, describe


@dataclass(frozen=True, slots=True)
class Folders:
    """A list of folders, stored as a tuple of paths; with ``one``, a single folder needs no brackets."""

    one: bool = False

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, str) and self.one:
            value = [value]
        if not isinstance(value, list):
            remedy = f"write [{value}]" if isinstance(value, str) else "write [one, two]"
            report(path, advise(f"expected a list of folders, got {describe(value)}", remedy))
            return INVALID
        if not value:
            report(path, advise("is empty", "list at least one folder"))
            return INVALID
        text = Text(
            min_length=1,
            max_length=4096,
            pattern=r"^[^\x00]*$",
            advice="a path has no NUL characters",
            tells_how=False,
        )
        folders = [text.read(item, (*path, index), report) for index, item in enumerate(value)]
        if any(folder is INVALID for folder in folders):
            return INVALID
        found = []
        for index, folder in enumerate(folders):
            try:
                found.append(expand_home(Folder(folder)))
            except NoHome as error:
                report((*path, index), str(error))
                return INVALID
        return tuple(found)

    def split(self, text: str) -> list[str]:
        """Split the text of a variable, as of ``PATH``."""
        return [item for item in text.split(os.pathsep) if item]

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string", "minLength": 1}, "minItems": 1}
        if self.one:
            schema |= {"type": ["string", "array", "null"], "minLength": 1}
        return schema

    def write(self, value: Any) -> Any:
        written = [str(folder) for folder in value]
        return written[0] if self.one and len(written) == 1 else written


@dataclass(frozen=True, slots=True)
class OneFolder:
    """A single folder, stored as a path."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected a folder, got {describe(value)}", "write one path"))
            return INVALID
        found = Folders(one=True).read(value, path, report)
        return found if found is INVALID else found[0]

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "null"], "minLength": 1}

    def write(self, value: Any) -> Any:
        return str(value)


@dataclass(frozen=True, slots=True)
class JobDefaults:
    """Options of jobs as they are written; the catalog checks them by the declarations of jobs."""

    from_variable = False

    @property
    def section(self) -> Section:
        """The options of a job."""
        from runner.model.job import JOB  # start-up time: only a message needs it

        return JOB

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            report(path, advise(f"expected a mapping of options, got {describe(value)}", "write {queue: reports}"))
            return INVALID
        return MappingProxyType(dict(value))

    def schema(self) -> dict[str, Any]:
        return {"type": "object"}

    def write(self, value: Any) -> Any:
        return dict(value)
