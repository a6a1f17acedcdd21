"""Texts with placeholders of a slot: ``${run.slot}``, ``${run.slot.date - 1d}``, ``${run.slot - 1mo | %Y%m}``.

A placeholder is ``run.slot``, optionally with a part, offsets, and a format, in the time zone of the schedule. Offsets
in days, weeks, months, and years keep the time of day; if the month has no such day, its last day is taken. Offsets in
minutes and hours are elapsed time. A text that is only ``${run.slot.year}`` or another number becomes that number.
``$${`` stands for a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from runner._dataclass import dataclass
from runner.model.message import Message, advise, as_message, message_of, suggest
from runner.model.template import LITERAL, PLACEHOLDER, expand, not_closed, placeholders
from runner.model.value_type import INVALID, Path, Report, closest, editor_message

SLOT_TEMPLATE_REF = "#/$defs/slot_template"
"""The reference to the rule for a JSON value with placeholders of a slot, in the JSON Schema of a jobs file."""

LONGEST_OFFSET = 9999
"""The largest number of an offset."""
_EXAMPLES = "write ${run.slot.date}, ${run.slot.date - 1d}, or ${run.slot - 1d | %Y%m%d}"

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = tuple(
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)

_PARTS: Final[Mapping[str, Callable[[datetime], str | int]]] = {
    "date": lambda at: at.date().isoformat(),
    "time": lambda at: at.strftime("%H:%M:%S"),
    "year": lambda at: at.year,
    "month": lambda at: at.month,
    "day": lambda at: at.day,
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
    "second": lambda at: at.second,
    "weekday": lambda at: at.isoweekday(),
    "week": lambda at: at.isocalendar().week,
    "timestamp": lambda at: int(at.timestamp()),
}
PARTS = tuple(_PARTS)
"""The parts that may follow ``run.slot.``; weekdays count from Monday, which is 1, and weeks as in ISO 8601."""
_FORMATTED = ("", "date", "time")
"""The parts that may have a format."""

_UNITS = ("m", "h", "d", "w", "mo", "y")

# Not strftime: its names depend on the locale of the process, and its directives on the C library.
_DIRECTIVES: Final[Mapping[str, Callable[[datetime], str]]] = {
    "Y": lambda at: f"{at.year:04}",
    "m": lambda at: f"{at.month:02}",
    "d": lambda at: f"{at.day:02}",
    "H": lambda at: f"{at.hour:02}",
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "y": lambda at: f"{at.year % 100:02}",
    "j": lambda at: f"{at.timetuple().tm_yday:03}",
    "F": lambda at: f"{at.year:04}-{at.month:02}-{at.day:02}",
    "T": lambda at: f"{at.hour:02}:{at.minute:02}:{at.second:02}",
    "I": lambda at: f"{at.hour % 12 or 12:02}",
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "a": lambda at: _DAYS[at.weekday()][:3],
    "A": lambda at: _DAYS[at.weekday()],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "B": lambda at: _MONTHS[at.month - 1],
    "u": lambda at: str(at.isoweekday()),
    "w": lambda at: str(at.isoweekday() % 7),
    "G": lambda at: f"{at.isocalendar().year:04}",
    "V": lambda at: f"{at.isocalendar().week:02}",
    "s": lambda at: str(int(at.timestamp())),
    "z": lambda at: at.strftime("%z"),
    "Z": lambda at: at.tzname() or "",
    "%": lambda at: "%",  # noqa: ARG005
}
DIRECTIVES = tuple(_DIRECTIVES)
"""The directives that may follow ``%`` in a format, as in ``strftime``, in English with any locale."""

_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_OFFSET = re.compile(r"\s*([+-])\s*([0-9]+)\s*([A-Za-z]*)")
_EXPRESSION = re.compile(r"run\.slot(?:\.([A-Za-z_]*))?((?:\s*[+-]\s*[0-9]+\s*[A-Za-z]*)*)\s*(?:\|(.*))?", re.DOTALL)


class _Bad(ValueError):
    """An invalid placeholder; the argument is the message."""


@dataclass(frozen=True, slots=True)
class _Placeholder:
    part: str
    offsets: tuple[tuple[int, str], ...]
    format: str | None

    def value(self, slot: datetime) -> str | int:
        at = slot
        for number, unit in self.offsets:
            at = _moved(at, number, unit)
        if self.format is not None:
            return _DIRECTIVE.sub(lambda found: _DIRECTIVES[found[1]](at), self.format)
        if self.part:
            return _PARTS[self.part](at)
        return at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")


def _parse(name: str) -> _Placeholder:
    """Return the parts of the expression between ``${`` and ``}``.

    Raises:
        _Bad: it is not a valid placeholder of a slot.
    """
    found = _EXPRESSION.fullmatch(name)
    if found is None:
        raise _Bad(_not_of_a_slot(name))
    part, offsets, written = found[1], found[2], found[3]
    if part is not None and part not in _PARTS:
        close = closest(part, PARTS)
        what = f"{part!r} is not a part of a slot"
        if close is None:
            raise _Bad(advise(what, f"use one of {', '.join(PARTS)}"))
        raise _Bad(suggest(what, f"run.slot.{close}", replacement=f"${{{name.replace(part, close, 1)}}}"))
    if written is not None:
        written = written.strip()
        _check_format(part or "", written)
    return _Placeholder(part or "", tuple(_offset(found) for found in _OFFSET.finditer(offsets)), written)


def _not_of_a_slot(name: str) -> Message:
    if re.fullmatch(r"run\.slot\b.*", name, re.DOTALL):
        return advise("the offset or the format cannot be read", _EXAMPLES)
    bare = name.removeprefix("slot.").removeprefix("run.")
    if bare in _PARTS:
        meant = f"${{run.slot.{bare}}}"
        return suggest("there is no such name", meant, replacement=meant)
    if name in ("slot", "run.slots"):
        return suggest("there is no such name", "${run.slot}", replacement="${run.slot}")
    return advise("a schedule knows only the slot", f"{_EXAMPLES}; {LITERAL}", "; ")


def _offset(found: re.Match[str]) -> tuple[int, str]:
    sign, number, unit = found.groups()
    if not unit:
        raise _Bad(advise(f"the offset {sign} {number} has no unit", f"write {number}d, or use one of m h d w mo y"))
    if unit not in _UNITS:
        raise _Bad(advise(f"{unit!r} is not a unit of an offset", "use one of m h d w mo y"))
    if len(number) > 4:
        raise _Bad(advise(f"the offset {number[:20]}{unit} is too large", f"write {LONGEST_OFFSET}{unit} or less"))
    return int(sign + number), unit


def _check_format(part: str, written: str) -> None:
    if part not in _FORMATTED:
        raise _Bad(advise(f"run.slot.{part} takes no format", "write ${run.slot | FORMAT}"))
    if not written:
        raise _Bad(advise("the format is empty", "write one such as %Y%m%d after the |, or remove the |"))
    for found in _DIRECTIVE.finditer(written):
        if found[1] not in _DIRECTIVES:
            known = " ".join(f"%{letter}" for letter in DIRECTIVES)
            raise _Bad(advise(f"{found[0]!r} is not a directive of a format", f"use one of {known}"))


def _moved(at: datetime, number: int, unit: str) -> datetime:
    if unit in ("m", "h"):
        passed = timedelta(minutes=number) if unit == "m" else timedelta(hours=number)
        return (at.astimezone(UTC) + passed).astimezone(at.tzinfo)
    if unit in ("d", "w"):
        return (at + timedelta(days=number * (7 if unit == "w" else 1))).replace(fold=0)
    import calendar  # start-up time: few schedules count in months

    months = at.year * 12 + at.month - 1 + number * (12 if unit == "y" else 1)
    year, month = months // 12, months % 12 + 1
    last = calendar.monthrange(year, month)[1] if 1 <= year <= 9999 else 1
    return at.replace(year=year, month=month, day=min(at.day, last), fold=0)


def resolve(value: Any, slot: datetime) -> Any:
    """Return a copy of a valid template with its placeholders replaced.

    Args:
        value: any JSON value.
        slot: the slot in the schedule's zone.

    Raises:
        OverflowError, ValueError: the date is outside the calendar.
    """
    return expand(value, lambda name: _parse(name).value(slot))


def has_placeholders(value: Any) -> bool:
    """Return whether the value of a template depends on the slot."""
    return any(placeholders(value))


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))


def _faults(text: str) -> Iterator[Message]:
    for found in PLACEHOLDER.finditer(text):
        if found[1]:
            continue
        if not found[3]:
            yield not_closed(found)
            continue
        try:
            _parse(found[2].strip())
        except _Bad as bad:
            yield as_message(message_of(bad)).after(f"{found[0][:60]}: ", found[0])


_PATTERN = (
    r"^(?![\s\S]*(?:^|[^$])\$\{(?!\s*run\.slot(?:\.(?:"
    + "|".join(PARTS)
    + r"))?(?:\s*[+-]\s*[0-9]{1,4}\s*(?:mo|[mhdwy]))*\s*(?:\|[^{}]*)?\}))"
)


def slot_template_schema() -> dict[str, Any]:
    """Return the JSON Schema of a value with placeholders of a slot, for :data:`SLOT_TEMPLATE_REF`."""
    here = {"$ref": SLOT_TEMPLATE_REF}
    message = editor_message(f"{_EXAMPLES}; {LITERAL}")
    return {"pattern": _PATTERN, **message, "items": here, "additionalProperties": here}


@dataclass(frozen=True, slots=True)
class SlotTemplate:
    """Any JSON value with placeholders of the slot, stored as it is written."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        faults = [(below, fault) for below, text in _texts(value) for fault in _faults(text)]
        for below, fault in faults:
            report((*path, *below), fault)
        return INVALID if faults else value

    def schema(self) -> dict[str, Any]:
        return {"$ref": SLOT_TEMPLATE_REF}

    def write(self, value: Any) -> Any:
        return value
