"""Translate schedules of other tools: Celery, APScheduler, Quartz, systemd, supercronic, and others."""

from __future__ import annotations

import re
from collections.abc import Callable

from runner._dataclass import dataclass
from runner.model.duration import MAX_DURATION, format_duration, parse_duration

_FIVE = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_LETTERS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "min": 60, "sec": 1}
_NAMES = {
    "minutely": "* * * * *",
    "hourly": "@hourly",
    "daily": "@daily",
    "nightly": "@daily",
    "midnight": "@daily",
    "weekly": "@weekly",
    "monthly": "@monthly",
    "quarterly": "0 0 1 1,4,7,10 *",
    "semiannually": "0 0 1 1,7 *",
    "yearly": "@yearly",
    "annually": "@yearly",
}


@dataclass(frozen=True, slots=True)
class Instead:
    """The advice about a text that is not a valid cron expression."""

    advice: str
    """The end of a message."""
    option: str = ""
    """The option of a schedule with the same meaning, as written in YAML; empty if there is none."""
    more: str = ""
    """An addition to the advice."""
    replacement: str = ""
    """The schedule with the same meaning, as written in YAML; empty if that is not known."""


def instead_of(text: str) -> Instead | None:
    """Return the advice about a text that is not a valid cron expression, or None if the text is unknown."""
    for pattern, explain in _KNOWN:
        found = re.fullmatch(pattern, text, re.IGNORECASE)
        if found is not None and (instead := explain(found)) is not None:
            return instead
    return None


def every(seconds: float) -> str:
    """Return the schedule with an interval of ``seconds``, as written in YAML."""
    return f"{{every: {format_duration(seconds)}}}"


def _write_every(seconds: float) -> Instead | None:
    if not 1 <= seconds <= MAX_DURATION:
        return None
    return Instead(f"write {every(seconds)}", f"every: {format_duration(seconds)}", replacement=every(seconds))


def _write_cron(text: str, before: str = "", more: str = "") -> Instead:
    return Instead(f'{before}write "{text}"{more}', f'cron: "{text}"', more, "" if more else f'"{text}"')


def _zoned(found: re.Match[str]) -> Instead:
    cron, zone = " ".join(found["cron"].split()), found["zone"]
    instead = instead_of(cron) or _write_cron(cron)
    what = "the time zone is an option of its own"
    if instead.option:
        written = f"{{{instead.option}, timezone: {zone}}}"
        known = not instead.more and (instead_of(cron) is not None or len(cron.split()) > 4)
        return Instead(f"{what}, write {written}{instead.more}", replacement=written if known else "")
    return Instead(f"{what}, timezone: {zone}; and for the rest, {instead.advice}")


def _interval(found: re.Match[str]) -> Instead | None:
    number = float(found["number"] or 1)
    unit = found["unit"].lower()
    seconds = number * (_UNITS.get(unit.removesuffix("s")) or _LETTERS.get(unit, 0))
    return _write_every(seconds)


def _duration(found: re.Match[str]) -> Instead | None:
    try:
        interval = _write_every(parse_duration(found["duration"].lower()))
        return interval or Instead("the shortest interval is {every: 1s}", replacement="{every: 1s}")
    except ValueError:
        return None


def _iso_duration(found: re.Match[str]) -> Instead | None:
    given = {unit: float(found[unit] or 0) for unit in ("w", "d", "h", "m", "s")}
    return _write_every(sum(number * _LETTERS[unit] for unit, number in given.items()))


def _number(found: re.Match[str]) -> Instead | None:
    return _write_every(float(found["number"]))


def _arguments(text: str) -> dict[str, str]:
    pairs = re.findall(r"(\w+)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([^,'\"]+))", text)
    return {name: (single or double or bare).strip() for name, single, double, bare in pairs}


def _crontab_call(found: re.Match[str]) -> Instead:
    given = _arguments(found["arguments"])
    return _write_cron(" ".join(given.get(name, "*") for name in _FIVE))


def _timedelta_call(found: re.Match[str]) -> Instead:
    text = found["arguments"].strip()
    try:
        given = {name.removesuffix("s"): float(value) for name, value in _arguments(text).items()}
        seconds = sum({**_UNITS, "run_every": 1}[unit] * number for unit, number in given.items()) or float(text)
    except (KeyError, ValueError):
        seconds = 0
    return _write_every(seconds) or Instead("write it as an interval, such as {every: 15m}")


def _of_amazon(found: re.Match[str]) -> Instead:
    fields = found["fields"].replace("?", "*").split()[:5]
    return _write_cron(" ".join(fields), more=_days(fields))


def _with_question_marks(found: re.Match[str]) -> Instead:
    fields = found[0].replace("?", "*").split()
    year = "; there is no field for the year" if len(fields) == 7 else ""
    days = _days(fields[:6]) if len(fields) > 5 else ""
    return _write_cron(" ".join(fields[:6]), before="here ? is *, ", more=year + days)


def _nearest(found: re.Match[str]) -> Instead:
    return Instead(f"{found['day']} as day-of-month is syntax of Quartz, write a day such as 15, or L for the last")


def _days(fields: list[str]) -> str:
    """Return a note about the days of the week, which other tools count from 1."""
    return "; here Sunday is 0 or 7, not 1" if re.search("[0-9]", fields[-1].partition("/")[0]) else ""


def _with_year(found: re.Match[str]) -> Instead:
    before = "the last of its 7 fields is a year, for which there is no field; "
    return _write_cron(" ".join(found[0].split()[:6]), before)


def _clock(found: re.Match[str]) -> Instead | None:
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if (half := found["half"]) is not None:
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    return _write_cron(f"{minute} {hour} * * *") if hour < 24 and minute < 60 else None


def _always(advice: str) -> Callable[[re.Match[str]], Instead]:
    return lambda _: Instead(advice)


_ZONE = 'the time zone is an option of its own, write {cron: "0 2 * * *", timezone: Europe/Berlin}'

_KNOWN: tuple[tuple[str, Callable[[re.Match[str]], Instead | None]], ...] = (
    (r"(?:CRON_)?TZ\s*=\s*[\"']?(?P<zone>[^\s\"']+)[\"']?\s+(?P<cron>[^\s][\s\S]*)", _zoned),
    (r"(?:CRON_)?TZ\s*=.*", _always(_ZONE)),
    (r"@every\s+(?P<duration>\S+)", _duration),
    (r"@every\b.*", _always("write it as an interval, such as {every: 15m}")),
    (r"(?:every\s+)?(?P<duration>(?:[0-9.]+(?:ms|[smhdw]))+)", _duration),
    (
        r"(?:every|each)?\s*(?P<number>[0-9]+(?:\.[0-9]+)?)?\s*(?P<unit>(?:second|minute|hour|day|week)s?|min|sec)",
        _interval,
    ),
    (r"rate\((?P<number>[0-9]+)\s+(?P<unit>(?:minute|hour|day)s?)\)", _interval),
    (r"(?P<number>[0-9]+(?:\.[0-9]*)?)", _number),
    (
        r"(?:R[0-9]*/(?:.*/)?)?P(?:(?P<w>[0-9]+)W)?(?:(?P<d>[0-9]+)D)?"
        r"(?:T(?:(?P<h>[0-9]+)H)?(?:(?P<m>[0-9]+)M)?(?:(?P<s>[0-9]+)S)?)?",
        _iso_duration,
    ),
    (r"(?:\w+\.)*crontab\((?P<arguments>.*)\)", _crontab_call),
    (r"(?:\w+\.)*(?:timedelta|schedule|interval)\((?P<arguments>.*)\)", _timedelta_call),
    (r"(?:\w+\.)*solar\(.*\)", _always("sunrise and sunset are not supported, write a time")),
    (r"cron\((?P<fields>[^()]*)\)", _of_amazon),
    (r"@(?:reboot|startup|boot)", _always("it is not a time, write one such as @daily")),
    (r"@?(?P<name>" + "|".join(_NAMES) + ")", lambda found: _write_cron(_NAMES[found["name"].lower()])),
    (r"(?:at\s+)?(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))(?::00)?\s*(?P<half>am|pm)?", _clock),
    (r"(?:at\s+)?(?P<hour>[0-9]{1,2})(?P<minute>)\s*(?P<half>am|pm)", _clock),
    (r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*", _always("it is a single time, for which there is runner submit JOB --at TIME")),
    (r"(?:[A-Z][\w,.]*\s+)?[0-9*/,.]+-[0-9*/,.]+-[0-9*/,.~]+(?:\s+[0-9*:/,.]+)?(?:\s+\S+)?", _always(
        "it is an OnCalendar of systemd, write minute hour day-of-month month day-of-week, such as \"0 2 * * *\""
    )),
    (r"(?=.*(?:^|\s)H(?:\s|$|[/(])).*", _always(
        "H is syntax of Jenkins, write a minute such as 0, and spread the starts: {cron: \"0 2 * * *\", jitter: 10m}"
    )),
    (r"(?=.*[0-9]~|.*~[0-9]).*", _always(
        "~ is syntax of OpenBSD, write the first value, and spread the starts: {cron: \"0 2 * * *\", jitter: 10m}"
    )),
    (r"(?:[^\s]+\s+){2,3}(?:[^\s]*,)?(?P<day>[0-9]{1,2}W|LW?-[0-9]+W?)(?:,[^\s]*)?(?:\s+[^\s]+){2,3}", _nearest),
    (r"(?=.*\?)[^\s]+(?:\s+[^\s]+){4,6}", _with_question_marks),
    (r"[^\s]+(?:\s+[^\s]+){5}\s+(?:\*|[0-9*/,-]*[0-9]{4}[0-9*/,-]*)", _with_year),
)  # fmt: skip
"""Regular expressions for the syntax of other tools, with the advice; the first that returns some counts."""
