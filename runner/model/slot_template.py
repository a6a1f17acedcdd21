"""Texts with placeholders of a slot: ``${run.slot}``, ``${run.slot.date - 1d}``, ``${run.slot - 1mo | %Y%m}``.

A placeholder is ``run.slot``, maybe a part of it, offsets, and a format, all by the clock of the schedule's zone.
Offsets in days, weeks, months, and years count on the calendar and keep the time of day; a month without that day
gives its last day. Offsets in minutes and hours count the time that passes. A text that is nothing but
``${run.slot.year}`` or another number becomes that number. ``$${`` stands for a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from runner._dataclass import dataclass
from runner.model.message import Message, advise, as_message, message_of
from runner.model.template import LITERAL, PLACEHOLDER, expand, not_closed, placeholders
from runner.model.value_type import INVALID, Path, Report, closest, editor_message

SLOT_TEMPLATE_REF = "#/$defs/slot_template"
"""Where the JSON Schema of a jobs file keeps the rule for a JSON value with placeholders of a slot."""

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
"""What may follow ``run.slot.``; a weekday counts from 1, Monday, and a week is that of ISO 8601."""
_FORMATTED = ("", "date", "time")
"""The parts that take a format."""

_UNITS = ("m", "h", "d", "w", "mo", "y")

# Not strftime: its words hang on the locale of the process, and what it knows on the C library.
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
"""What may follow ``%`` in a format, as in ``strftime``, in English whatever the locale."""

_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_OFFSET = re.compile(r"\s*([+-])\s*([0-9]+)\s*([A-Za-z]*)")
_EXPRESSION = re.compile(r"run\.slot(?:\.([A-Za-z_]*))?((?:\s*[+-]\s*[0-9]+\s*[A-Za-z]*)*)\s*(?:\|(.*))?", re.DOTALL)


class _Bad(ValueError):
    """A placeholder that is not sound; its argument is the message."""


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
    """Return the parts of the words between ``${`` and ``}``.

    Raises:
        _Bad: they are no sound placeholder of a slot.
    """
    found = _EXPRESSION.fullmatch(name)
    if found is None:
        raise _Bad(_not_of_a_slot(name))
    part, offsets, written = found[1], found[2], found[3]
    if part is not None and part not in _PARTS:
        close = closest(part, PARTS)
        what = f"{part!r} is not a part of a slot"
        raise _Bad(
            f"{what}, did you mean run.slot.{close}?" if close else advise(what, f"use one of {', '.join(PARTS)}")
        )
    if written is not None:
        written = written.strip()
        _check_format(part or "", written)
    return _Placeholder(part or "", tuple(_offset(each) for each in _OFFSET.finditer(offsets)), written)


def _not_of_a_slot(name: str) -> str:
    if re.fullmatch(r"run\.slot\b.*", name, re.DOTALL):
        return advise("the offset or the format cannot be read", _EXAMPLES)
    bare = name.removeprefix("slot.").removeprefix("run.")
    if bare in _PARTS:
        return f"there is no such name, did you mean ${{run.slot.{bare}}}?"
    if name in ("slot", "run.slots"):
        return "there is no such name, did you mean ${run.slot}?"
    return advise("only the slot is known when a schedule submits a run", f"{_EXAMPLES}; {LITERAL}", "; ")


def _offset(found: re.Match[str]) -> tuple[int, str]:
    sign, number, unit = found.groups()
    if not unit:
        raise _Bad(
            advise(f"the offset {sign} {number} has no unit", f"write {number}d, or another one of m h d w mo y")
        )
    if unit not in _UNITS:
        raise _Bad(advise(f"{unit!r} is not a unit of an offset", "write one of m h d w mo y"))
    if len(number) > 4:
        raise _Bad(f"the offset {number[:20]}{unit} is too large, at most {LONGEST_OFFSET} is allowed")
    return int(sign + number), unit


def _check_format(part: str, written: str) -> None:
    if part not in _FORMATTED:
        raise _Bad(advise(f"run.slot.{part} takes no format", "write the format after run.slot"))
    if not written:
        raise _Bad(advise("the format is empty", "write one such as %Y%m%d after the |, or remove the |"))
    for found in _DIRECTIVE.finditer(written):
        if found[1] not in _DIRECTIVES:
            known = " ".join(f"%{each}" for each in DIRECTIVES)
            raise _Bad(advise(f"{found[0]!r} is not known in a format", f"use one of {known}"))


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
    """Return a copy of a sound template with its placeholders replaced.

    Args:
        value: any JSON value.
        slot: the slot in the schedule's zone.

    Raises:
        OverflowError, ValueError: an offset leads out of the calendar.
    """
    return expand(value, lambda name: _parse(name).value(slot))


def has_placeholders(value: Any) -> bool:
    """Return whether what a template stands for depends on the slot."""
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
            yield as_message(message_of(bad)).after(f"{found[0][:60]}: ")


_PATTERN = (
    r"^(?![\s\S]*(?:^|[^$])\$\{(?!\s*run\.slot(?:\.(?:"
    + "|".join(PARTS)
    + r"))?(?:\s*[+-]\s*[0-9]{1,4}\s*(?:mo|[mhdwy]))*\s*(?:\|[^{}]*)?\}))"
)


def slot_template_schema() -> dict[str, Any]:
    """Return the rule for a JSON value with placeholders of a slot, to stand at :data:`SLOT_TEMPLATE_REF`."""
    here = {"$ref": SLOT_TEMPLATE_REF}
    words = editor_message(f"{_EXAMPLES}; {LITERAL}")
    return {"pattern": _PATTERN, **words, "items": here, "additionalProperties": here}


@dataclass(frozen=True, slots=True)
class SlotTemplate:
    """Any JSON value in which ``${run.slot…}`` stands for the slot; held as it is written."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        faults = [(below, fault) for below, text in _texts(value) for fault in _faults(text)]
        for below, fault in faults:
            report((*path, *below), fault)
        return INVALID if faults else value

    def schema(self) -> dict[str, Any]:
        return {"$ref": SLOT_TEMPLATE_REF}

    def write(self, value: Any) -> Any:
        return value
