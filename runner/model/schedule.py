"""The ``schedule:`` section of a job. :mod:`runner.schedule` computes its slots."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner._dataclass import dataclass
from runner.model.container import MapOf
from runner.model.cron_hint import every, instead_of
from runner.model.duration import MAX_DURATION, format_duration
from runner.model.foreign_names import FOREIGN_SCHEDULE_NAMES
from runner.model.message import Message, advise, hint
from runner.model.option import Section, option
from runner.model.param import PARAM_NAME
from runner.model.plural import things
from runner.model.slot_rule import SlotRules, Window
from runner.model.slot_template import SlotTemplate
from runner.model.timezone import Moment, Timezone
from runner.model.value_type import INVALID, Choice, Duration, Path, Report, ValueType, describe

_FIELD = r"[0-9A-Za-z*,/#-]+"
CRON_PATTERN = rf"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|{_FIELD}([ \t]+{_FIELD}){{4,5}})$"
LONGEST_EXPRESSION = 256
_JENKINS = re.compile(r"(?:^|[ \t])H(?:[/ \t]|$)")
_CRON_ADVICE = 'write minute hour day-of-month month day-of-week, such as "0 2 * * *", or @daily'


@dataclass(frozen=True, slots=True)
class CronExpression:
    """Five fields as in Debian's crontab, six with seconds first, or a name such as ``@daily``.

    :func:`runner.schedule.check.check_schedules` checks the values of the fields.
    """

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected a cron expression, got {describe(value)}", _CRON_ADVICE))
            return INVALID
        if len(value) > LONGEST_EXPRESSION:
            too_long = f"is {len(value)} characters long, at most {LONGEST_EXPRESSION} are allowed"
            report(path, advise(too_long, "shorten it, or use a list of schedules"))
            return INVALID
        text = value.strip(" \t")
        if not re.fullmatch(CRON_PATTERN[1:-1], text) or _JENKINS.search(text):
            message = _explain(text)
            if path[-1:] == ("cron",) and message.replacement.startswith("{"):
                message = Message(message, message.remedy)  # a mapping is not a cron expression
            report(path, message)
            return INVALID
        return " ".join(text.split())

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": CRON_PATTERN, "maxLength": LONGEST_EXPRESSION}

    def write(self, value: Any) -> Any:
        return value


def _explain(text: str) -> Message:
    if text == "@reboot":
        return advise("@reboot is not a time, so it cannot be a schedule", "write a time such as @daily", "; ")
    if (instead := instead_of(text)) is not None:
        return advise(f"{text!r} is not a cron expression", instead.advice, replacement=instead.replacement)
    if text.startswith("@"):
        return advise(f"{text!r} is not known", "write @hourly, @daily, @weekly, @monthly, or @yearly")
    fields = text.split()
    if all(re.fullmatch(_FIELD, field) for field in fields):
        return advise(f"{text!r} has {things(len(fields), 'field')}", _CRON_ADVICE)
    return advise(f"{text!r} is not a cron expression", _CRON_ADVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule. Durations are seconds; exactly one of ``cron`` and ``every`` is set."""

    cron: str | None = option(
        CronExpression(),
        default=None,
        help="A cron expression as in Debian's cron; a sixth field, at the beginning, is for seconds.",
        examples=("0 2 * * *", "*/5 8-18 * * mon-fri", "0 9 L * *", "@daily"),
    )
    every: float | None = option(
        Duration(1.0),
        default=None,
        help="Instead of cron: an interval, counted from 1970-01-01T00:00Z, so that all hosts agree.",
        examples=("15m",),
    )
    timezone: str | None = option(
        Timezone(known=False),  # checked by runner.schedule.check, where a file is read
        default=None,
        help="The time zone of cron, start, and end; by default, that of runner.yaml.",
        examples=("Europe/Berlin",),
    )
    jitter: float = option(
        Duration(),
        default=0.0,
        help="Start each run up to this long after its slot; how long depends on job and slot, not on the host.",
        examples=("5m",),
    )
    start: str | None = option(Moment(), default=None, help="No slots before this time.", examples=("2026-12-01",))
    end: str | None = option(
        Moment(),
        default=None,
        help="No slots after this time; a date alone means the end of that day.",
        examples=("2026-12-31T18:00",),
    )
    excepted: tuple[str | Window, ...] = option(
        SlotRules(),
        key="except",
        default=(),
        help="Slots to leave out: dates, calendar:NAME, or time windows, in the schedule's time zone.",
        examples=(["2026-12-24", "calendar:holidays", {"from": "22:00", "to": "06:00", "days": ["sat", "sun"]}],),
    )
    only: tuple[str | Window, ...] = option(
        SlotRules(some=True),
        default=(),
        help="The only slots to run: dates, calendar:NAME, or time windows, in the schedule's time zone.",
        examples=(["calendar:trading"], [{"from": "09:00", "to": "17:30"}]),
    )
    catchup: str = option(
        Choice(("none", "last", "all"), ((True, "all"), (False, "none"), ("latest", "last"))),
        default="last",
        help="How many missed slots are run late: none, the last one, or all.",
    )
    catchup_window: float = option(
        Duration(1.0), default=86400.0, help="A slot that was missed by more than this is not run.", examples=("6h",)
    )
    params: Mapping[str, Any] = option(
        MapOf(PARAM_NAME, SlotTemplate(), null_resets=True),
        default={},
        help="Params of each run, with placeholders for its slot in the schedule's time zone: ${run.slot.date}, "
        "${run.slot.date - 1d}, ${run.slot - 1d | %Y%m%d}.",
        examples=({"day": "${run.slot.date - 1d}"},),
    )


SCHEDULE_ALIASES = {
    "crontab": "cron",
    "expression": "cron",
    "interval": "every",
    "seconds": "every",
    "tz": "timezone",
    "timeZone": "timezone",
    "from": "start",
    "start_date": "start",
    "starts_at": "start",
    "until": "end",
    "end_date": "end",
    "ends_at": "end",
    "exclude": "except",
    "skip": "except",
    "blackout": "except",
    "include": "only",
    "splay": "jitter",
    "RandomizedDelaySec": "jitter",
    "catch_up": "catchup",
    "misfire_grace_time": hint("write catchup_window with a unit, such as 1h"),
    "startingDeadlineSeconds": "catchup_window",
    "at": "cron",
    "kwargs": "params",
    "parameters": "params",
    "args": hint("use params, which have names"),
}


def _check_schedule(schedule: Schedule, path: Path, report: Report) -> bool:
    if schedule.cron is None and schedule.every is None:
        report(path, advise("has neither cron nor every", 'write cron: "0 2 * * *" or every: 15m'), on_key=True)
        return False
    if schedule.cron is not None and schedule.every is not None:
        report(
            (*path, "every"),
            advise("cannot be combined with cron", "remove one of the two, or use a list of schedules"),
            on_key=True,
        )
        return False
    return True


ONE_SCHEDULE = Section(Schedule, {**FOREIGN_SCHEDULE_NAMES, **SCHEDULE_ALIASES}, _check_schedule)


@dataclass(frozen=True, slots=True)
class Schedules:
    """A cron expression, a mapping, or a list of these, stored as a tuple of :class:`Schedule`."""

    section: Section = ONE_SCHEDULE

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, list):
            one = self._read_one(value, path, report)
            return INVALID if one is INVALID else (one,)
        found = [self._read_one(item, (*path, index), report) for index, item in enumerate(value)]
        return INVALID if any(schedule is INVALID for schedule in found) else tuple(found)

    def _read_one(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, Mapping):
            return self.section.read(value, path, report)
        if not isinstance(value, str):
            what = f"expected a cron expression or a mapping, got {describe(value)}"
            if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= MAX_DURATION:
                interval = every(value)
                report(path, advise(what, f"write {interval} for an interval in seconds", replacement=interval))
            else:
                report(path, advise(what, _CRON_ADVICE))
            return INVALID
        cron = _CRON.read(value, path, report)
        return INVALID if cron is INVALID else Schedule(cron=cron)

    def schema(self) -> dict[str, Any]:
        one = {
            # Each keyword applies to values of its own type only, so one rule covers text and mappings.
            **self.section.schema(),
            **_CRON.schema(),
            "type": ["string", "object"],
            "if": {"type": "object"},
            "then": {"oneOf": [_present("cron"), _present("every")]},
        }
        return {**one, "type": ["string", "object", "array", "null"], "items": one}

    def write(self, value: Any) -> Any:
        written = [self._write_one(schedule) for schedule in value]
        return written[0] if len(written) == 1 else written

    def _write_one(self, schedule: Schedule) -> Any:
        written = self.section.write(schedule)
        return written["cron"] if list(written) == ["cron"] else written


def _present(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


_CRON: ValueType = CronExpression()
SCHEDULES = Schedules()


def schedule_text(schedules: Sequence[Schedule]) -> str:
    """Return a short description of a job's schedules: ``0 2 * * * with except, every 15m``."""
    return ", ".join(map(_one_text, schedules))


def _one_text(schedule: Schedule) -> str:
    text = schedule.cron or f"every {format_duration(schedule.every or 0.0)}"
    rules = " and ".join(name for name, held in (("except", schedule.excepted), ("only", schedule.only)) if held)
    return f"{text} with {rules}" if rules else text
