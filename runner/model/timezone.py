"""Names of time zones, and dates with or without a time."""

from __future__ import annotations

import pathlib
import re
from datetime import date, datetime
from functools import cache
from importlib import import_module
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise, suggest
from runner.model.value_type import INVALID, Path, Report, closest, describe

MOMENT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"
)
_MOMENT_ADVICE = "write 2026-11-24, 2026-11-24T02:00, or 2026-11-24T02:00:00+01:00"


@dataclass(frozen=True, slots=True)
class Timezone:
    """The name of a time zone, such as Europe/Berlin.

    ``known``: whether this host must know it. Hosts know different zones, and an update may remove one.
    """

    known: bool = True

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected a time zone, got {describe(value)}", "write one such as Europe/Berlin"))
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


def unknown_zone(name: str) -> Message | None:
    """Return the message about a time zone that is unknown, or not the same on every host; None if it is valid."""
    if name == "UTC":
        return None
    if name.removeprefix(":").lower() in _OF_HOST or name.startswith(("/", "posix/", "right/")):
        return advise(f"{name!r} is not the same on every host", _ZONE_ADVICE)
    known = _known_zones()
    if name in known:
        return None
    import zoneinfo  # start-up time: only unknown names need it

    same = next((zone for zone in known if zone.lower() == name.lower()), None)
    if same is not None:
        # Some file systems ignore case, and would find it.
        return suggest(f"{name!r} is not a time zone", same, replacement=same)
    try:
        # It may be newer than the list of names.
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # The closest name to an abbreviation such as BST is that of another country.
        guess = None if _ABBREVIATION.fullmatch(name) else closest(name, known)
        if (offset := _OFFSET.fullmatch(name)) is not None:
            # In these names the sign is that of POSIX, which counts westward.
            turned = f"Etc/GMT{'-' if offset[1] == '+' else '+'}{int(offset[2])}"
            guess = turned if turned in known else None
        what = f"{name!r} is not a time zone"
        if guess is None:
            return advise(what, _ZONE_ADVICE)
        return suggest(what, guess, replacement=guess)
    return None


_ZONE_ADVICE = "write a name such as Europe/Berlin or UTC"
_ABBREVIATION = re.compile("[A-Z]{2,5}")
_OFFSET = re.compile(r"(?:GMT|UTC)?([-+])0?([0-9]{1,2})(?::?00)?")
_OF_HOST = frozenset({"localtime", "local", "factory", "posixrules", "system"})
"""Names that mean the time zone of the host, or none at all."""


@cache
def _known_zones() -> frozenset[str]:
    """Return the names of the time zone database, without those that depend on the host."""
    # Not importlib.resources: it can read zipped packages, but takes longer to import than everything else here.
    text = (pathlib.Path(str(import_module("tzdata").__file__)).parent / "zones").read_text("utf-8")
    return frozenset(text.split()) - {"Factory"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, or a date and a time with or without an offset, stored as text in ISO 8601."""

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
            # In another time zone it may be before the first year of the calendar.
            report(path, advise(f"{value!r} is before the year 2", "remove it to have no bound"))
            return INVALID
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": MOMENT_PATTERN}

    def write(self, value: Any) -> Any:
        return value


def _canonical(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return moment.isoformat()
