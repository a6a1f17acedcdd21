"""Names of time zones, and moments that people write."""

from __future__ import annotations

import pathlib
import re
from datetime import date, datetime
from functools import cache
from importlib import import_module
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise
from runner.model.value_type import INVALID, Path, Report, closest, describe

MOMENT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"
)
_MOMENT_ADVICE = "write 2026-11-24, 2026-11-24T02:00 or 2026-11-24T02:00:00+01:00"


@dataclass(frozen=True, slots=True)
class Timezone:
    """The name of a time zone, such as Europe/Berlin.

    ``known``: whether it must be one that this host knows. Hosts differ in that, and a host may forget one.
    """

    known: bool = True

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, f"expected a time zone such as Europe/Berlin, got {describe(value)}")
            return INVALID
        wrong = unknown_zone(value) if self.known else None
        if wrong is not None:
            report(path, wrong)
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}

    def write(self, value: Any) -> Any:
        return value


def unknown_zone(name: str) -> str | None:
    """Return the fault of a name that is no time zone here, or that differs between hosts; None if it is sound."""
    if name == "UTC":
        return None
    if name.removeprefix(":").lower() in _OF_HOST or name.startswith(("/", "posix/", "right/")):
        return advise(f"{name!r} is not the same on every host", _ZONE_ADVICE)
    known = _known_zones()
    if name in known:
        return None
    import zoneinfo  # start-up time: names that are known need none

    same = next((each for each in known if each.lower() == name.lower()), None)
    if same is not None:
        # Only some file systems tell them apart.
        return Message(f"{name!r} is not a time zone, did you mean {same}?", replacement=same)
    try:
        # One that is newer than those that we know.
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # The closest one to an abbreviation such as BST is of another country.
        guess = None if _ABBREVIATION.fullmatch(name) else closest(name, known)
        if (offset := _OFFSET.fullmatch(name)) is not None:
            # POSIX counts westward.
            turned = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{int(offset[2])}"
            guess = turned if turned in known else None
        what = f"{name!r} is not a time zone"
        if guess is None:
            return advise(what, _ZONE_ADVICE)
        return Message(f"{what}, did you mean {guess}?", replacement=guess)
    return None


_ZONE_ADVICE = "write a name such as Europe/Berlin or UTC"
_ABBREVIATION = re.compile("[A-Z]{2,5}")
_OFFSET = re.compile(r"(?:GMT|UTC)?([-+])0?([0-9]{1,2})(?::?00)?")
_OF_HOST = frozenset({"localtime", "local", "factory", "posixrules", "system"})
"""Names that mean the zone of the host, or none at all."""


@cache
def _known_zones() -> frozenset[str]:
    """Return the names of the time zone database, without those of a host."""
    # Not by importlib.resources, which takes longer to import than all else here: it can read zipped packages.
    text = (pathlib.Path(str(import_module("tzdata").__file__)).parent / "zones").read_text("utf-8")
    return frozenset(text.split()) - {"Factory"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, or a date and a time with or without an offset; held as the text that ISO 8601 has for it."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected a date or a time, got {describe(value)}", _MOMENT_ADVICE))
            return INVALID
        try:
            if not re.fullmatch(MOMENT_PATTERN[1:-1], value):
                raise ValueError
            text = date.fromisoformat(value).isoformat() if len(value) == 10 else _canonical(value)
        except ValueError:
            report(path, advise(f"{value!r} is not a date or a time", _MOMENT_ADVICE))
            return INVALID
        if text.startswith("0001"):
            # In a zone east or west of Greenwich it may be no time at all.
            report(path, advise(f"{value!r} is before the year 2", "leave it out to have no bound"))
            return INVALID
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": MOMENT_PATTERN}

    def write(self, value: Any) -> Any:
        return value


def _canonical(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return moment.isoformat()
