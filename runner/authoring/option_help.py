"""The options of ``jobs.d`` and ``runner.yaml`` as a tree, for ``runner explain`` and the shell's completion.

Everything comes from the declarations of the options. Paths leave out the names that users choose, such as those of
jobs: ``jobs.retry.backoff``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from runner.model.container import ListOf, MapOf
from runner.model.expected import describe_type
from runner.model.hooks import HOOK, JOB_NAME, HookEntry
from runner.model.job import JOB
from runner.model.keyword import KEYWORD_HELP, PARAM_KEYWORDS
from runner.model.option import Option, Section, known_options
from runner.model.param import Params
from runner.model.schedule import CronExpression, Schedules
from runner.model.slot_rule import WINDOW, SlotRules
from runner.model.step import Steps
from runner.model.timezone import Moment, Timezone
from runner.model.value_type import Choice, Flag, Path, ValueType
from runner.settings.celery_settings import CelerySettings
from runner.settings.environment import variables
from runner.settings.option_types import Folders, JobDefaults, OneFolder
from runner.settings.options import SETTINGS, Settings


@dataclass(frozen=True, slots=True)
class OptionsInside:
    """The options inside a value. ``name`` is an example of the name that a user chooses for them, empty if none."""

    options: Mapping[str, Option]
    aliases: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    listed: bool = False


@dataclass(frozen=True, slots=True)
class OptionHelp:
    """An option of a file. ``at`` is an example of its position: ``("jobs", "nightly-report", "retry", "delay")``."""

    path: str
    at: Path
    declared: Option

    @property
    def type(self) -> str:
        """The values that the option takes."""
        return _type(self.declared.type)

    @property
    def default(self) -> Any:
        """The default as it stands in YAML; None if there is none, and for sections."""
        held = self.declared.default
        return None if held is None or isinstance(self.declared.type, Section) else self.declared.type.write(held)

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values as they stand in YAML."""
        return _examples(self.declared)

    @property
    def variable(self) -> str | None:
        """The environment variable that overrides the option, or None."""
        return _variables().get(self.path)

    @property
    def options(self) -> tuple[OptionHelp, ...]:
        """The options inside it."""
        inside = options_inside(self.declared.type)
        if inside is None:
            return ()
        at = (*self.at, *_between(inside))
        return tuple(OptionHelp(f"{self.path}.{key}", (*at, key), option) for key, option in inside.options.items())

    def document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            **self.summary(),
            "examples": list(self.examples),
            "variable": self.variable,
            "options": [inner.summary() for inner in self.options],
        }

    def summary(self) -> dict[str, Any]:
        """Return the main fields of :meth:`document`."""
        value_type = self.declared.type
        bounds = {
            name: value_type.write(bound) if (bound := getattr(value_type, name, None)) is not None else None
            for name in ("minimum", "maximum")
        }
        return {
            "path": self.path,
            "help": self.declared.help,
            "type": self.type,
            "values": list(value_type.choices) if isinstance(value_type, Choice) else None,
            **bounds,
            "required": self.declared.required,
            "default": self.default,
        }


ROOTS = (
    OptionHelp(
        "jobs",
        ("jobs",),
        Option(
            "jobs",
            "jobs",
            MapOf(JOB_NAME, JOB),
            "The jobs of a file in jobs.d, by name.",
            required=False,
            default=None,
            examples=({"nightly-report": {"task": "reports.nightly:build", "timeout": "15m"}},),
        ),
    ),
    OptionHelp(
        "runner",
        (),
        Option(
            "runner",
            "runner",
            SETTINGS,
            "The settings of the project, in runner.yaml.",
            required=False,
            default=None,
            examples=({"timezone": "Europe/Berlin", "worker": {"concurrency": 8}},),
        ),
    ),
)
"""The two files: their options are below these."""


def all_options() -> Iterator[OptionHelp]:
    """Yield every option of both files, each before those inside it."""
    for root in ROOTS:
        yield from _walk(root)


def completions(incomplete: str) -> list[OptionHelp]:
    """Return the options to offer for the beginning of a path; those in a section once it is the only one."""
    depth = incomplete.count(".")
    found = [inner for inner in all_options() if inner.path.startswith(incomplete) and inner.path.count(".") == depth]
    return [*found, *found[0].options] if len(found) == 1 else found


def _walk(option: OptionHelp) -> Iterator[OptionHelp]:
    yield option
    if isinstance(option.declared.type, JobDefaults):
        return  # the options of jobs once more
    for inner in option.options:
        yield from _walk(inner)


_NAMES = {Steps: "load", Params: "day"}


def options_inside(value_type: ValueType) -> OptionsInside | None:
    match value_type:
        case Section():
            return OptionsInside(known_options(value_type.cls), value_type.aliases)
        case Schedules():
            return options_inside(value_type.section)
        case SlotRules():
            return OptionsInside(known_options(WINDOW.cls), WINDOW.aliases, listed=True)
        case HookEntry():
            return options_inside(HOOK)
        case JobDefaults():
            return options_inside(JOB)
        case Params():
            return OptionsInside(_keywords(), name=_NAMES[Params])
        case ListOf():
            item = options_inside(value_type.item)
            return item and OptionsInside(item.options, item.aliases, listed=True)
        case MapOf():
            value = options_inside(value_type.value)
            name = _NAMES.get(type(value_type)) or ("nightly-report" if value_type.key == JOB_NAME else "alice")
            return value and OptionsInside(value.options, value.aliases, name)
    return None


def _between(inside: OptionsInside) -> Path:
    return (inside.name,) if inside.name else (0,) if inside.listed else ()


@cache
def _keywords() -> Mapping[str, Option]:
    helps = {**KEYWORD_HELP, "required": "true: a submission without it is refused."}
    return {
        key: Option(key, key, value_type, helps[key], required=False, default=None)
        for key, value_type in PARAM_KEYWORDS.items()
    }


@cache
def _variables() -> Mapping[str, str]:
    return {".".join(("runner", *path)): name for name, path, _ in variables(Settings)}


def _examples(declared: Option) -> tuple[Any, ...]:
    return declared.examples or tuple(_derived_examples(declared))


def _derived_examples(declared: Option) -> Iterator[Any]:
    """Yield an example of an option that declares none, where its type or default gives one."""
    value_type, default = declared.type, declared.default
    match value_type:
        case Section():
            options = known_options(value_type.cls).values()
            found = [(option, example) for option in options for example in _examples(option)[:1]]
            required = [(option, example) for option, example in found if option.required]
            yield {option.key: example for option, example in required or found[:2]}
        case Choice():
            yield next((word for word in value_type.choices if word != default), value_type.choices[0])
        case Flag():
            yield not default
        case ListOf(item=HookEntry()):
            yield ["page-oncall"]
        case _ if default is not None and default != () and default != {}:
            yield value_type.write(default)


def _type(value_type: ValueType) -> str:
    match value_type:
        case Section() | JobDefaults() | CelerySettings():
            return "mapping"
        case ListOf(item=Section()):
            return "list of mappings"
        case Params():
            return "mapping of names to JSON Schemas"
        case MapOf(value=Section()):
            return "mapping of names to mappings"
        case Schedules():
            return "cron expression, mapping, or list of them"
        case CronExpression():
            return "cron expression with five or six fields, or @daily and the like"
        case Moment():
            return "date, or date and time"
        case Folders():
            return "folder, or list of folders" if value_type.one else "list of folders"
        case OneFolder():
            return "folder"
        case Timezone():
            return "name of a time zone"
    return describe_type(value_type).replace("`", "") or _schema_type(value_type)


def _schema_type(value_type: ValueType) -> str:
    """Return the types in the value's JSON Schema, for keywords of params, which have no description."""
    types = value_type.schema().get("type", "any value of JSON")
    return types if isinstance(types, str) else " or ".join(types)
