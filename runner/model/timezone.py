"""Names of time zones, and moments that people write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from runner.model.kind import INVALID, Path, Report, describe, did_you_mean

MOMENT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"
)
_MOMENT_ADVICE = "write 2026-11-24, 2026-11-24T02:00 or 2026-11-24T02:00:00+01:00"


@dataclass(frozen=True, slots=True)
class Timezone:
    """The name of a time zone, such as Europe/Berlin, that this host knows."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, f"expected a time zone such as Europe/Berlin, got {describe(value)}")
            return INVALID
        if value == "UTC":
            return value
        # Imported here for start-up time alone.
        import zoneinfo

        try:
            zoneinfo.ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            guess = did_you_mean(value, zoneinfo.available_timezones())
            report(path, f"{value!r} is not a time zone{guess or ', write a name such as Europe/Berlin or UTC'}")
            return INVALID
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}

    def write(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, or a date and a time with or without an offset; held as the text that ISO 8601 has for it."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, f"expected a date or a time, got {describe(value)}, {_MOMENT_ADVICE}")
            return INVALID
        import re

        try:
            if not re.fullmatch(MOMENT_PATTERN[1:-1], value):
                raise ValueError
            return date.fromisoformat(value).isoformat() if len(value) == 10 else _canonical(value)
        except ValueError:
            report(path, f"{value!r} is not a date or a time, {_MOMENT_ADVICE}")
            return INVALID

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": MOMENT_PATTERN}

    def write(self, value: Any) -> Any:
        return value


def _canonical(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return moment.isoformat()
