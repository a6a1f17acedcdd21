"""Describe the values of options, for problems and for the reference pages."""

from __future__ import annotations

from typing import Any

from runner.model.container import AnyJson, ListOf, MapOf
from runner.model.hooks import HookEntry
from runner.model.job import JobSpec
from runner.model.keyword import PARAM_KEYWORDS
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
from runner.model.time_types import PastTime, StartTime
from runner.model.value_type import Choice, Duration, Flag, Integer, Number, Path, Size, Text, ValueType


def describe_type(value_type: ValueType) -> str:
    """Return a description of the values of a type; empty for a type without one."""
    match value_type:
        case Flag():
            return "`true` or `false`"
        case Integer():
            return f"whole number, {value_type.minimum} to {value_type.maximum}"
        case Number():
            return "number" if value_type.above is None else f"number above {value_type.above:g}"
        case Duration():
            return "duration" + (f", {value_type.write(value_type.minimum)} or more" if value_type.minimum else "")
        case Size():
            return f"size, {value_type.write(value_type.minimum)} to {value_type.write(value_type.maximum)}"
        case Choice():
            return "one of " + ", ".join(f"`{choice}`" for choice in value_type.choices)
        case Text():
            return describe_text(value_type)
        case ListOf():
            item = describe_type(value_type.item)
            return f"list of: {item}" + (", without duplicates" if value_type.unique else "") if item else ""
        case Steps():
            return "mapping of names to steps, such as `{load: {task: etl:load}}`"
        case Condition():
            return "one placeholder, such as `${steps.check.result.ok}`"
        case Each():
            return "list, placeholder for one, or mapping of names to these"
        case MapOf():
            value = describe_type(value_type.value)
            return f"mapping of names to: {value}" if value else ""
        case Template():
            return f"{describe_type(value_type.of)}; may contain placeholders, `$${{` is a literal `${{`"
        case SlotTemplate():
            return "any JSON value; may contain placeholders such as `${run.slot.date}`, `$${` is a literal `${`"
        case SlotRules():
            return (
                'list of dates, `calendar:NAME`, and time windows such as `{from: "22:00", to: "06:00", days: [sat]}`'
            )
        case TimeOfDay():
            return "time of day in quotes"
        case CalendarSources():
            return "mapping of names to lists of dates, `file:PATH`, or `holidays:COUNTRY-PART`"
        case SecretSource():
            return "`env:NAME`, `file:PATH`, or `exec:COMMAND`" if value_type.commands else "`env:NAME` or `file:PATH`"
        case StartTime():
            return "future time such as `2026-11-24T02:00`, or `02:00` for the next one"
        case PastTime():
            return "duration before now, such as `24h`, or a time"
        case Key():
            return f"text, 1 to {value_type.longest} printable characters"
        case StateName():
            return "one of " + ", ".join(f"`{state}`" for state in State) + ", in any case"
        case AnyJson():
            return "any JSON value"
        case Section():
            return "mapping with " + ", ".join(f"`{name}`" for name in known_options(value_type.cls))
        case HookEntry():
            return "name of a job" + (", or `{job: NAME, after: 3}`" if value_type.counts else "")
        case Params():
            return "mapping of names to schemas, such as `{day: {type: string}}`"
    return ""


def describe_text(value_type: Text) -> str:
    """Return a description of the valid texts."""
    parts = ["text"]
    if value_type.min_length:
        parts.append("not empty" if value_type.min_length == 1 else f"at least {value_type.min_length} characters")
    if value_type.max_length is not None:
        parts.append(f"at most {value_type.max_length} characters")
    text = ", ".join(parts)
    return f"{text} ({value_type.advice})" if value_type.advice else text


def type_at(path: Path) -> ValueType | None:
    """Return the type of the value at a path of a jobs file; None if it is not known."""
    steps = path[2:] if path[:1] == ("jobs",) else path[1:] if path[:1] == ("defaults",) else ()
    value_type: Any = Section(JobSpec)
    for depth, step in enumerate(steps):
        if isinstance(value_type, Section):
            declared = known_options(value_type.cls).get(str(step))
            value_type = declared.type if declared is not None else None
        elif isinstance(value_type, Params):
            value_type = PARAM_KEYWORDS.get(str(steps[depth + 1])) if depth + 1 < len(steps) else None
            return value_type if depth + 2 == len(steps) else getattr(value_type, "item", None)
        else:
            value_type = value_type.of if isinstance(value_type, Template) else value_type
            value_type = getattr(value_type, "item", None) or getattr(value_type, "value", None)
        if isinstance(value_type, Template) and value_type.any_depth:
            return AnyJson()
        if value_type is None:
            return None
    return value_type if steps else None


def expected_at(path: Path) -> str:
    """Return a description of the valid values at a path of a jobs file; empty if they are not known.

    For a key that is not an option, the description lists the options.
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
        if isinstance(declared.type, Steps) and len(below) > 1:
            return _expected(below[1:], Step)
        if below and isinstance(declared.type, Section):
            known = known_options(declared.type.cls)
            continue
        return _inside(declared, below)
    return ""


def _inside(declared: Option, below: Path) -> str:
    value_type: Any = declared.type
    if isinstance(getattr(value_type, "value", None), Template) and value_type.value.any_depth:
        return ""  # any value
    if not below:
        return _with_example(declared)
    if isinstance(value_type, Params):
        if len(below) != 2:
            return "a schema such as `{type: string}`" if len(below) == 1 else ""
        keyword = PARAM_KEYWORDS.get(str(below[1]))
        return describe_type(keyword) if keyword is not None else ""
    for _ in below:
        value_type = value_type.of if isinstance(value_type, Template) else value_type
        value_type = getattr(value_type, "item", None) or getattr(value_type, "value", None)
        if value_type is None:
            return ""
    return describe_type(value_type)


def _with_example(declared: Option) -> str:
    description = describe_type(declared.type)
    plain = [example for example in declared.examples if isinstance(example, str | int)]
    if not description or not plain or "such as" in description:
        return description
    return f"{description}, such as `{plain[0]}`"
