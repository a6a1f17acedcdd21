"""Describe the values that an option takes, for problems and for the reference pages."""

from __future__ import annotations

from typing import Any

from runner.model.container import AnyJson, ListOf, MapOf
from runner.model.hooks import HookEntry
from runner.model.job import JobSpec
from runner.model.keyword import PARAM_KEYWORDS
from runner.model.kind import Choice, Duration, Flag, Integer, Kind, Number, Path, Size, Text
from runner.model.option import Option, Section, known_options
from runner.model.param import Params
from runner.model.run import State
from runner.model.run_query import StateName
from runner.model.secret import SecretSource
from runner.model.slot_rule import CalendarSources, SlotRules, TimeOfDay
from runner.model.slot_template import SlotTemplate
from runner.model.step import Condition, Each, Step, Steps
from runner.model.submit_options import Key
from runner.model.template import Template
from runner.model.time_kinds import PastTime, StartTime


def kind_words(kind: Kind) -> str:
    """Return in words which values a kind takes; an empty string for a kind that has none here."""
    match kind:
        case Flag():
            return "`true` or `false`"
        case Integer():
            return f"whole number, {kind.minimum} to {kind.maximum}"
        case Number():
            return "number" if kind.above is None else f"number above {kind.above:g}"
        case Duration():
            return "duration" + (f", {kind.write(kind.minimum)} or more" if kind.minimum else "")
        case Size():
            return f"size, {kind.write(kind.minimum)} to {kind.write(kind.maximum)}"
        case Choice():
            return "one of " + ", ".join(f"`{word}`" for word in kind.words)
        case Text():
            return text_words(kind)
        case ListOf():
            item = kind_words(kind.item)
            return f"list of: {item}" + (", none twice" if kind.unique else "") if item else ""
        case Steps():
            return "mapping of names to steps, such as `{load: {task: etl:load}}`"
        case Condition():
            return "one placeholder, such as `${steps.check.result.ok}`"
        case Each():
            return "a list, a placeholder that gives one, or a mapping of names to these"
        case MapOf():
            value = kind_words(kind.value)
            return f"mapping of names to: {value}" if value else ""
        case Template():
            return f"{kind_words(kind.of)}; may hold `${{…}}`, `$${{` stands for a literal `${{`"
        case SlotTemplate():
            return "any value of JSON; may hold `${run.slot…}`, `$${` stands for a literal `${`"
        case SlotRules():
            return 'list of dates, `calendar:NAME`, and windows such as `{from: "22:00", to: "06:00", days: [sat]}`'
        case TimeOfDay():
            return "time of day in quotes"
        case CalendarSources():
            return "mapping of names to lists of dates, `file:PATH`, or `holidays:COUNTRY-PART`"
        case SecretSource():
            return "`env:NAME`, `file:PATH`, or `exec:COMMAND`" if kind.commands else "`env:NAME` or `file:PATH`"
        case StartTime():
            return "time ahead, such as `2026-11-24T02:00`, or the next `02:00`"
        case PastTime():
            return "duration back from now, such as `24h`, or a time"
        case Key():
            return f"text, 1 to {kind.longest} printable characters"
        case StateName():
            return "one of " + ", ".join(f"`{each}`" for each in State) + ", in any case"
        case AnyJson():
            return "any value of JSON"
        case Section():
            return "mapping with " + ", ".join(f"`{name}`" for name in known_options(kind.cls))
        case HookEntry():
            return "name of a job" + (", or `{job: NAME, after: 3}`" if kind.counts else "")
        case Params():
            return "mapping of names to schemas, such as `{day: {type: string}}`"
    return ""


def text_words(kind: Text) -> str:
    """Return in words which texts fit."""
    parts = ["text"]
    if kind.min_length:
        parts.append("not empty" if kind.min_length == 1 else f"at least {kind.min_length} characters")
    if kind.max_length is not None:
        parts.append(f"at most {kind.max_length} characters")
    if kind.advice:
        parts.append(kind.advice)
    return ", ".join(parts)


def kind_at(path: Path) -> Kind | None:
    """Return the kind of the value at a path of a jobs file; None where that is not known."""
    steps = path[2:] if path[:1] == ("jobs",) else path[1:] if path[:1] == ("defaults",) else ()
    kind: Any = Section(JobSpec)
    for depth, step in enumerate(steps):
        if isinstance(kind, Section):
            declared = known_options(kind.cls).get(str(step))
            kind = declared.kind if declared is not None else None
        elif isinstance(kind, Params):
            kind = PARAM_KEYWORDS.get(str(steps[depth + 1])) if depth + 1 < len(steps) else None
            return kind if depth + 2 == len(steps) else getattr(kind, "item", None)
        else:
            kind = kind.of if isinstance(kind, Template) else kind
            kind = getattr(kind, "item", None) or getattr(kind, "value", None)
        if isinstance(kind, Template) and kind.any_depth:
            return AnyJson()
        if kind is None:
            return None
    return kind if steps else None


def expected_at(path: Path) -> str:
    """Return in words what may stand at a path of a jobs file; an empty string where that is not known.

    Of a key that is no option: the options that there are.
    """
    if path[:1] == ("jobs",):
        return _expected(path[2:])
    return _expected(path[1:]) if path[:1] == ("defaults",) else ""


def _expected(steps: Path, section: type = JobSpec) -> str:
    known = known_options(section)
    for depth, step in enumerate(steps):
        declared = known.get(str(step))
        if declared is None:
            return "one of " + ", ".join(f"`{name}`" for name in known)
        below = steps[depth + 1 :]
        if isinstance(declared.kind, Steps) and len(below) > 1:
            return _expected(below[1:], Step)
        if below and isinstance(declared.kind, Section):
            known = known_options(declared.kind.cls)
            continue
        return _inside(declared, below)
    return ""


def _inside(declared: Option, below: Path) -> str:
    kind: Any = declared.kind
    if isinstance(getattr(kind, "value", None), Template) and kind.value.any_depth:
        return ""  # anything at all
    if not below:
        return _with_example(declared)
    if isinstance(kind, Params):
        if len(below) != 2:
            return "a schema such as `{type: string}`" if len(below) == 1 else ""
        keyword = PARAM_KEYWORDS.get(str(below[1]))
        return kind_words(keyword) if keyword is not None else ""
    for _ in below:
        kind = kind.of if isinstance(kind, Template) else kind
        kind = getattr(kind, "item", None) or getattr(kind, "value", None)
        if kind is None:
            return ""
    return kind_words(kind)


def _with_example(declared: Option) -> str:
    words = kind_words(declared.kind)
    plain = [each for each in declared.examples if isinstance(each, str | int)]
    if not words or not plain or "such as" in words:
        return words
    return f"{words}, such as `{plain[0]}`"
