"""When a job runs by itself, as declared. What follows from it is in :mod:`runner.schedule`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from runner._dataclass import dataclass
from runner.model.container import MapOf
from runner.model.cron_hint import every, instead_of
from runner.model.duration import MAX_DURATION, format_duration
from runner.model.foreign_names import FOREIGN_SCHEDULE_NAMES
from runner.model.message import advise, hint
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
    """Five fields as in Debian's crontab, six with seconds first, or ``@daily`` and the like.

    Whether the fields hold what they may is checked by :func:`runner.schedule.check.check_schedule`.
    """

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, str):
            report(path, advise(f"expected a cron expression, got {describe(value)}", _CRON_ADVICE))
            return INVALID
        if len(value) > LONGEST_EXPRESSION:
            report(path, f"is {len(value)} characters long, at most {LONGEST_EXPRESSION} are allowed")
            return INVALID
        text = value.strip(" \t")
        if not re.fullmatch(CRON_PATTERN[1:-1], text) or _JENKINS.search(text):
            report(path, _explain(text))
            return INVALID
        return " ".join(text.split())

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": CRON_PATTERN, "maxLength": LONGEST_EXPRESSION}

    def write(self, value: Any) -> Any:
        return value


def _explain(text: str) -> str:
    if text == "@reboot":
        return advise(
            "@reboot is not a time, so it cannot be a schedule", "write when the job runs, such as @daily", "; "
        )
    if (instead := instead_of(text)) is not None:
        return advise(f"{text!r} is not a cron expression", instead.words)
    if text.startswith("@"):
        return advise(f"{text!r} is not known", "write @hourly, @daily, @weekly, @monthly or @yearly")
    fields = text.split()
    if all(re.fullmatch(_FIELD, field) for field in fields):
        return advise(f"{text!r} has {things(len(fields), 'field')}", _CRON_ADVICE)
    return advise(f"{text!r} is not a cron expression", _CRON_ADVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One entry of ``schedule:``. Durations are seconds; exactly one of ``cron`` and ``every`` is set."""

    cron: str | None = option(
        CronExpression(),
        default=None,
        help="A cron expression with the semantics of Debian's cron; six fields have seconds first.",
        examples=("0 2 * * *", "*/5 8-18 * * mon-fri", "0 9 L * *", "@daily"),
    )
    every: float | None = option(
        Duration(1.0),
        default=None,
        help="Instead of cron: so often, counted from 1970-01-01T00:00Z, so that all hosts agree.",
        examples=("15m",),
    )
    timezone: str | None = option(
        Timezone(known=False),  # checked by runner.schedule.check, where a file is read
        default=None,
        help="The zone of cron, start and end; that of runner.yaml by default.",
        examples=("Europe/Berlin",),
    )
    jitter: float = option(
        Duration(),
        default=0.0,
        help="A run starts up to so much after its slot; how much follows from job and slot, the same on all hosts.",
        examples=("5m",),
    )
    start: str | None = option(Moment(), default=None, help="No slot before this.", examples=("2026-12-01",))
    end: str | None = option(
        Moment(),
        default=None,
        help="No slot after this; a date alone means the end of that day.",
        examples=("2026-12-31T18:00",),
    )
    excepted: tuple[str | Window, ...] = option(
        SlotRules(),
        key="except",
        default=(),
        help="Slots that are left out: dates, calendar:NAME, or windows of time, in the schedule's zone.",
        examples=(["2026-12-24", "calendar:holidays", {"from": "22:00", "to": "06:00", "days": ["sat", "sun"]}],),
    )
    only: tuple[str | Window, ...] = option(
        SlotRules(some=True),
        default=(),
        help="The only slots that are run: on these dates, on days of calendar:NAME, or within these windows.",
        examples=(["calendar:trading"], [{"from": "09:00", "to": "17:30"}]),
    )
    catchup: str = option(
        Choice(("none", "last", "all"), ((True, "all"), (False, "none"), ("latest", "last"))),
        default="last",
        help="What happens to slots that were missed: none, the last one, or all of them are run late.",
    )
    catchup_window: float = option(
        Duration(1.0), default=86400.0, help="A slot missed by more than this is never run.", examples=("6h",)
    )
    params: Mapping[str, Any] = option(
        MapOf(PARAM_NAME, SlotTemplate(), null_resets=True),
        default={},
        help="Params of each run; ${run.slot.date}, ${run.slot.date - 1d}, and ${run.slot - 1d | %Y%m%d} stand for its "
        "slot, in the zone of the schedule.",
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
    "args": hint("a schedule gives params, by name"),
}


def _check_schedule(schedule: Schedule, path: Path, report: Report) -> bool:
    if schedule.cron is None and schedule.every is None:
        report(path, advise("has neither cron nor every", 'write cron: "0 2 * * *" or every: 15m'), on_key=True)
        return False
    if schedule.cron is not None and schedule.every is not None:
        report(
            (*path, "every"),
            advise("cannot be used together with cron", "remove one of them; a list holds several schedules"),
            on_key=True,
        )
        return False
    return True


ONE_SCHEDULE = Section(Schedule, {**FOREIGN_SCHEDULE_NAMES, **SCHEDULE_ALIASES}, _check_schedule)


@dataclass(frozen=True, slots=True)
class Schedules:
    """A cron expression, a mapping, or a list of them; held as a tuple of :class:`Schedule`."""

    section: Section = ONE_SCHEDULE

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, list):
            one = self._read_one(value, path, report)
            return INVALID if one is INVALID else (one,)
        found = [self._read_one(item, (*path, index), report) for index, item in enumerate(value)]
        return INVALID if any(each is INVALID for each in found) else tuple(found)

    def _read_one(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, Mapping):
            return self.section.read(value, path, report)
        if not isinstance(value, str):
            seconds = isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value <= MAX_DURATION
            hint = f"; for an interval in seconds write {every(value)}" if seconds else ""
            report(path, advise(f"expected a cron expression or a mapping, got {describe(value)}", _CRON_ADVICE + hint))
            return INVALID
        cron = _CRON.read(value, path, report)
        return INVALID if cron is INVALID else Schedule(cron=cron)

    def schema(self) -> dict[str, Any]:
        one = {
            # Each keyword looks at values of its own type only, so that one rule takes text and mappings.
            **self.section.schema(),
            **_CRON.schema(),
            "type": ["string", "object"],
            "if": {"type": "object"},
            "then": {"oneOf": [_present("cron"), _present("every")]},
        }
        return {**one, "type": ["string", "object", "array", "null"], "items": one}

    def write(self, value: Any) -> Any:
        written = [self._write_one(each) for each in value]
        return written[0] if len(written) == 1 else written

    def _write_one(self, schedule: Schedule) -> Any:
        written = self.section.write(schedule)
        return written["cron"] if list(written) == ["cron"] else written


def _present(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


_CRON: ValueType = CronExpression()
SCHEDULES = Schedules()


def schedule_text(schedules: Sequence[Schedule]) -> str:
    """Return the times of a job's schedules in a few words: ``0 2 * * * with except, every 15m``."""
    return ", ".join(map(_one_text, schedules))


def _one_text(schedule: Schedule) -> str:
    text = schedule.cron or f"every {format_duration(schedule.every or 0.0)}"
    rules = " and ".join(name for name, held in (("except", schedule.excepted), ("only", schedule.only)) if held)
    return f"{text} with {rules}" if rules else text
