"""The steps of a flow, each a task, another job, or an approval. :mod:`runner.catalog.graph` checks them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from runner._dataclass import dataclass
from runner.model.container import MapOf
from runner.model.foreign_names import FOREIGN_STEP_NAMES
from runner.model.hooks import JOB_NAME, JOB_REFERENCE
from runner.model.message import Message, advise, hint
from runner.model.option import (
    INVALID,
    AnyJson,
    Choice,
    Duration,
    Flag,
    Integer,
    ListOf,
    Path,
    Report,
    Section,
    Text,
    closest,
    describe,
    ignore,
    known_options,
    on_keys,
    option,
    option_like,
)
from runner.model.param import PARAM_NAME
from runner.model.task_options import ENV_NAME, ENV_VALUE, IMPORT_PATH, KWARG_NAME, TaskOptions, check_task_options
from runner.model.template import IN_FLOW, IN_TASK_STEP, STEP_WORD, Template, is_placeholder
from runner.model.value_type import editor_message

STEP_NAME = Text(
    pattern=rf"^{STEP_WORD}$",
    advice="use 1 to 64 lower-case letters, digits, dashes, or underscores, a letter or digit first and last",
    is_name=True,
)
STEP_REF = "#/$defs/step"
"""The reference to the rule for a step, in the JSON Schema of a jobs file."""
MOST_STEPS = 1000
MOST_ITEMS = 10_000
"""The largest number of items of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The ``approval:`` section: a step that waits for a person. Durations are seconds."""

    within: float | None = option(
        Duration(1.0),
        default=None,
        help="How long the step waits before it ends REVOKED, expired; by default, as long as the flow.",
        examples=("12h",),
    )


APPROVAL_ALIASES = {
    "timeout": "within",
    "expires": "within",
    "approvers": hint("everybody with the role operate may approve"),
}


_FUNCTIONS = {
    "always()": "write when: ended",
    "!cancelled()": "write when: ended",
    "failure()": "write when: failed",
    "success()": "remove it, because it is the default",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A single placeholder whose value decides whether a step runs."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, str) and is_placeholder(value.strip()):
            return _IN_FLOW.read(_normal(value), path, report)
        what = f"expected one placeholder, got {describe(value)}"
        if isinstance(value, str) and (instead := _FUNCTIONS.get(value.strip(" ${}"))) is not None:
            report(path, advise(f"{value.strip()!r} is a function of GitHub Actions", instead))
            return INVALID
        if isinstance(value, str):
            what = f"{value[:60]!r} is not one placeholder, and there are no expressions"
        report(path, advise(what, _CONDITION, "; "))
        return INVALID

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": _ONE, **editor_message(_CONDITION), "allOf": [_IN_FLOW.schema()]}

    def write(self, value: Any) -> Any:
        return value


def _normal(placeholder: str) -> str:
    """Return a placeholder without the spaces inside its braces."""
    return f"${{{placeholder.strip()[2:-1].strip()}}}"


@dataclass(frozen=True, slots=True)
class Each:
    """A list, a placeholder for one, or a mapping of names to these for every combination."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            return self._list(value, path, report)
        found = {}
        if not value:
            report(path, advise("is empty, so the step would never run", "write one such as {region: [eu, us]}", "; "))
            return INVALID
        for name, items in value.items():
            key = _ITEM_NAME.read(name, (*path, name), on_keys(report))
            read = self._list(items, (*path, name), report)
            found[key] = read
        return INVALID if INVALID in (*found, *found.values()) else MappingProxyType(found)

    def _list(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, list):
            return _ITEMS.read(value, path, report)
        if isinstance(value, str) and is_placeholder(value.strip()):
            return _IN_FLOW.read(_normal(value), path, report)
        what = f"expected a list, got {describe(value)}"
        report(path, advise(what, _LIST, "; "))
        return INVALID

    def schema(self) -> dict[str, Any]:
        text = {"if": {"type": "string"}, "then": {"pattern": _ONE, **editor_message(_LIST)}}
        one = {"type": ["string", "array"], "maxItems": MOST_ITEMS, "allOf": [_IN_FLOW.schema()], **text}
        return {
            **one,
            "type": ["string", "array", "object"],
            "minProperties": 1,
            "propertyNames": {"pattern": _ITEM_NAME.pattern},
            "additionalProperties": one,
        }

    def write(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.write(items) for name, items in value.items()}
        return list(value) if isinstance(value, tuple) else value


_ONE = r"^\s*\$\{[^{}]*\}\s*$"
_CONDITION = 'write one such as "${steps.check.result.ok}", which must give true or false'
_LIST = 'write [one, two], or one placeholder such as "${steps.extract.result.files}"'
_IN_FLOW = Template(AnyJson(), any_depth=True, scope=IN_FLOW)
_ITEMS = ListOf(_IN_FLOW, most=MOST_ITEMS)
_ITEM_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$",
    advice="use letters, digits, dashes, and underscores, a letter first",
    is_name=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(TaskOptions):
    """A step: exactly one of ``task``, ``job``, and ``approval`` is set. Durations are seconds."""

    FIRST: ClassVar = ("needs", "when", "if_", "may_fail", "each", "at_once", "task", "job", "params", "approval")

    needs: tuple[str, ...] = option(
        ListOf(replace(STEP_NAME, is_name=False), unique=True),
        default=(),
        help="The steps that must have ended before this one starts; without it, the step starts with the flow.",
        examples=(["extract"],),
    )
    when: str = option(
        Choice(
            ("succeeded", "failed", "ended"),
            (
                ("success", "succeeded"),
                ("on_success", "succeeded"),
                ("all_success", "succeeded"),
                ("all_failed", "failed"),
                ("failure", "failed"),
                ("on_failure", "failed"),
                ("always", "ended"),
                ("all_done", "ended"),
                ("done", "ended"),
                ("finished", "ended"),
            ),
        ),
        default="succeeded",
        help="How the steps under needs must have ended for this one to run: all succeeded, one failed, or all ended.",
    )
    if_: str | None = option(
        Condition(),
        key="if",
        default=None,
        help="A placeholder for true or false; if it is false, the step is skipped, and the steps that need it go on.",
        examples=("${steps.check.result.ok}",),
    )
    may_fail: bool = option(
        Flag(),
        default=False,
        help="true: if the step fails, the steps that need it run, and the flow can still succeed.",
    )
    each: Any = option(
        Each(),
        default=None,
        help="Run the step once for each item: a list of at most 10,000 items, a placeholder for one, or a mapping of "
        "names to lists for every combination. ${item} is the item.",
        examples=("${steps.extract.result.files}", ["eu", "us"], {"region": ["eu", "us"], "year": [2025, 2026]}),
    )
    at_once: int | None = option(
        Integer(1, MOST_ITEMS),
        default=None,
        help="How many items of the step may be under way at once; by default, all.",
        examples=(8,),
    )
    job: str | None = option(
        JOB_REFERENCE,
        default=None,
        help="Instead of task: a job to run, which may be a flow itself.",
        examples=("quality-check",),
    )
    params: Mapping[str, Any] = option(
        MapOf(PARAM_NAME, _IN_FLOW),
        default={},
        help="The params for the run of job; placeholders for the flow, the item, and other steps are replaced.",
        examples=({"day": "${params.day}", "rows": "${steps.load.results}"},),
    )
    approval: Approval | None = option(
        Section(Approval, APPROVAL_ALIASES),
        default=None,
        help="Instead of task: wait for approval, by runner approve or in the dashboard.",
        examples=({"within": "12h"},),
    )
    kwargs: Mapping[str, Any] = option_like(
        TaskOptions, "kwargs", MapOf(KWARG_NAME, Template(AnyJson(), any_depth=True, scope=IN_TASK_STEP))
    )
    env: Mapping[str, str] = option_like(
        TaskOptions, "env", MapOf(ENV_NAME, Template(ENV_VALUE, scope=IN_TASK_STEP), null_resets=True)
    )

    @property
    def kind(self) -> str:
        """Return ``task``, ``job``, or ``approval``."""
        return "task" if self.task is not None else "job" if self.job is not None else "approval"


_KINDS = ("task", "job", "approval")
_OF_ALL = frozenset({"description"})
_OF_TASKS = tuple(name for name in known_options(TaskOptions) if name not in _KINDS and name not in _OF_ALL)
"""The options that only a step with a task may have."""


def _check_step(step: Step, path: Path, report: Report) -> bool:
    given = [name for name in _KINDS if getattr(step, name) is not None]
    if not given:
        what = "has neither task, job, nor approval"
        report(path, advise(what, "add task: module:attribute, job: NAME, or approval: {}"), on_key=True)
        return False
    if len(given) > 1:
        message = advise(f"cannot be combined with {given[0]}", "move it into a step of its own")
        report((*path, given[1]), message, on_key=True)
        return False
    sound = check_task_options(step, path, report)
    own = {declared.field: declared.default for declared in known_options(Step).values()}
    if step.task is None:
        for name in _OF_TASKS:
            if getattr(step, name) != own[name]:
                report((*path, name), _not_of_a_task(step, name), on_key=True)
                sound = False
    if step.job is None and step.params:
        remedy = "use kwargs" if step.task is not None else "remove it"
        report((*path, "params"), advise("is only for a step with job", remedy), on_key=True)
        sound = False
    if step.approval is not None and step.each is not None:
        report((*path, "each"), advise("is not for an approval, which is asked for once", "remove it"), on_key=True)
        sound = False
    if step.at_once is not None and step.each is None:
        report((*path, "at_once"), advise("has no effect without each", "remove it, or add each"), on_key=True)
        sound = False
    if step.when != "succeeded" and not step.needs:
        report((*path, "when"), advise("has no effect without needs", "add needs, or remove it"), on_key=True)
        sound = False
    return sound


def _not_of_a_task(step: Step, name: str) -> Message:
    if step.approval is not None:
        if name in ("expires", "timeout"):
            return advise("is only for a step with task", "use approval: {within: 12h}")
        return advise("is only for a step with task", "remove it")
    if name in ("args", "kwargs"):
        return advise("is only for a step with task", f"use params for the params of {step.job}")
    return advise("is only for a step with task", f"move it into the job {step.job}")


@dataclass(frozen=True, slots=True)
class StepSection(Section):
    """A step, with the rules about options that exclude each other."""

    def _expected(self, value: Any) -> Message:
        what = f"expected a mapping, got {describe(value)}"
        if isinstance(value, str) and IMPORT_PATH.read(value, (), ignore) is not INVALID:
            return advise(what, f"write {{task: {value}}}", replacement=f"{{task: {value}}}")
        return advise(what, "write {task: module:attribute}")

    def schema(self) -> dict[str, Any]:
        return {"$ref": STEP_REF}

    def full_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of a step, for :data:`STEP_REF`."""
        schema = Section.schema(self)
        return {
            **schema,
            "if": {"anyOf": [_has("job"), _has("approval")]},
            "then": _without((*_OF_TASKS, "task"), "is only for a step with task"),
            "else": {"required": ["task"], **_without(("params",), "is only for a step with job, use kwargs")},
            "dependentSchemas": {
                "approval": {
                    "if": _has("approval"),
                    "then": _without(("job", "each", "params"), "is not for an approval"),
                },
                "at_once": {"if": _has("at_once"), "then": _has("each")},
            },
        }


def _without(names: Iterable[str], message: str) -> dict[str, Any]:
    return {"properties": {name: {"type": "null", "errorMessage": message} for name in names}}


def _has(name: str) -> dict[str, Any]:
    return {"required": [name], "properties": {name: {"not": {"type": "null"}}}}


STEP = StepSection(Step, FOREIGN_STEP_NAMES, _check_step)


@dataclass(frozen=True, slots=True)
class Steps(MapOf):
    """The ``steps:`` section: names and steps, in the order of the file."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        if isinstance(value, list):
            names = [step["name"] for step in value if isinstance(step, Mapping) and isinstance(step.get("name"), str)]
            first = next((name for name in names if STEP_NAME.read(name, (), ignore) is not INVALID), "load")
            what = "expected a mapping of names to steps, got a list"
            report(path, advise(what, f"use the name of each step as its key, such as {first}: {{…}}", "; "))
            return INVALID
        if isinstance(value, Mapping) and len(value) > MOST_STEPS:
            report(path, advise(f"has {len(value):,} steps, at most {MOST_STEPS:,} are allowed", "use each, or job"))
            return INVALID
        return MapOf.read(self, value, path, report)

    def schema(self) -> dict[str, Any]:
        return {**MapOf.schema(self), "maxProperties": MOST_STEPS}


STEPS = Steps(STEP_NAME, STEP)


@dataclass(frozen=True, slots=True)
class OnFailure(Choice):
    """What a flow does when a step fails. In other tools, the option is a list of jobs or commands."""

    def read(self, value: Any, path: Path, report: Report) -> Any:
        named = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        jobs = [job for job in named if JOB_NAME.read(job, (), ignore) is not INVALID]
        known = [*self.choices, *(word for word, _ in self.other)]
        if value in known or (isinstance(value, str) and closest(value, self.choices)) or len(jobs) != len(named):
            return Choice.read(self, value, path, report)
        remedy = f"use hooks: {{failure: [{', '.join(jobs)}]}} for jobs to submit"
        report(path, advise(f"must be {' or '.join(self.choices)}", remedy))
        return INVALID
