"""Texts with ``${…}``: ``${run.id}``, ``${run.slot}``, ``${params.NAME}`` and ``${env.NAME}``.

A template is held as it is written. A text that is nothing but ``${params.NAME}`` takes the value as it is, with its
type; in a longer text a value that is no text is written as JSON, and null as nothing. ``$${`` stands for a literal
``${``. Keys of mappings are taken as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cache
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise
from runner.model.value_type import INVALID, Path, Report, ValueType, closest, editor_message

PLACEHOLDER = re.compile(r"\$(\$?)\{([^{}]*)(\}?)")
"""What escapes it, the name, and what closes it."""
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_RUN = ("run.id", "run.slot")
STEP_WORD = "[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?"
"""The name of a step; it stands in placeholders, so it has no dots."""
BELOW = r"(?:\.[A-Za-z0-9_-]+|\[[0-9]{1,6}\])*"
"""What may follow a value in JSON: ``.key`` and ``[0]``."""
_GIVEN = rf"run\.(?:id|slot)|params\.{_NAME}"
_OF_STEPS = rf"item{BELOW}|steps\.{STEP_WORD}\.(?:state|(?:result|results){BELOW})"
LITERAL = "write $${ for a literal ${"

_ALL_OF_STEPS = "${item}, ${steps.NAME.result}, ${steps.NAME.results}, or ${steps.NAME.state}"


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a jobs file in which some placeholders are known."""

    name: str
    """Under this name the JSON Schema of a jobs file keeps the rule for a JSON value with ``${…}``."""
    known: str
    """A regular expression of the names, in Python and ECMA-262 alike."""
    all: str
    """What may be used, in words."""
    has_env: bool = True
    of_steps: bool = False

    @property
    def ref(self) -> str:
        """A reference to that rule."""
        return f"#/$defs/{self.name}"

    def knows(self, name: str) -> bool:
        """Return whether ``${name}`` may stand here."""
        return _compiled(self.known).fullmatch(name) is not None


IN_JOB = Scope("template", rf"{_GIVEN}|env\.{_NAME}", "use ${run.id}, ${run.slot}, ${params.NAME}, or ${env.NAME}")
"""The options of a job."""
IN_TASK_STEP = Scope(
    "step_template",
    rf"{_GIVEN}|env\.{_NAME}|{_OF_STEPS}",
    "use ${run.id}, ${run.slot}, ${params.NAME}, ${env.NAME}, " + _ALL_OF_STEPS,
    of_steps=True,
)
"""The options of a step that its task gets."""
IN_FLOW = Scope(
    "flow_template",
    rf"{_GIVEN}|{_OF_STEPS}",
    "use ${run.id}, ${run.slot}, ${params.NAME}, " + _ALL_OF_STEPS,
    has_env=False,
    of_steps=True,
)
"""The options of a step that are resolved before it starts, outside of any worker's environment."""
SCOPES = (IN_JOB, IN_TASK_STEP, IN_FLOW)


class Unset(LookupError):
    """An environment variable that ``${env.NAME}`` names is not set; the argument is its name."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The values of placeholders in one run. ``slot`` is RFC 3339, ``env`` the worker's environment."""

    run_id: str | None = None
    slot: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def look_up(self, name: str) -> Any:
        """Return the value of ``${name}``; None for a missing slot or param.

        Raises:
            Unset: it is a variable that is not set.
        """
        root, _, rest = name.partition(".")
        if root == "params":
            return self.params.get(rest)
        if root == "env":
            if rest not in self.env:
                raise Unset(rest)
            return self.env[rest]
        return self.run_id if rest == "id" else self.slot


def expand(value: Any, look_up: Callable[[str], Any]) -> Any:
    """Return a copy of ``value`` in which all texts, at any depth, have their placeholders replaced."""
    if isinstance(value, str):
        return render(value, look_up)
    if isinstance(value, Mapping):
        return {key: expand(item, look_up) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expand(item, look_up) for item in value]
    return value


def render(text: str, look_up: Callable[[str], Any]) -> Any:
    """Return ``text`` with its placeholders replaced; one that is nothing but a placeholder becomes the value itself.

    Args:
        text: a text whose placeholders are sound.
        look_up: returns the value of a name, such as ``params.region``.
    """
    if "${" not in text:
        return text
    whole = PLACEHOLDER.fullmatch(text)
    if whole is not None and not whole[1]:
        return look_up(whole[2].strip())
    return PLACEHOLDER.sub(lambda found: found[0][1:] if found[1] else as_text(look_up(found[2].strip())), text)


def is_placeholder(text: str) -> bool:
    """Return whether a text is nothing but one placeholder, so that it takes the value with its type."""
    whole = PLACEHOLDER.fullmatch(text)
    return whole is not None and not whole[1]


def names(text: str) -> Iterator[str]:
    """Yield the names of the placeholders of a text.

    Raises:
        ValueError: one is not closed.
    """
    for found in PLACEHOLDER.finditer(text):
        if not found[1]:
            if not found[3]:
                raise ValueError(not_closed(found))
            yield found[2].strip()


def not_closed(found: re.Match[str]) -> Message:
    """Return the message for a placeholder without its last brace."""
    return advise(f"{found[0][:60]} is not closed", f"write }} after the name; {LITERAL}")


def as_text(value: Any) -> str:
    """Return a value as it stands inside a text: a text as it is, null as nothing, any other value as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def placeholders(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield path and name of each placeholder of a template: ``(("day",), "params.day")``."""
    if isinstance(value, str):
        if "${" in value:
            yield from ((path, found[2].strip()) for found in PLACEHOLDER.finditer(value) if not found[1])
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from placeholders(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from placeholders(item, (*path, index))


def params_known(value: Any, params: Iterable[str], path: Path, report: Report) -> bool:
    """Report each ``${params.NAME}`` of a template that names no param of the job; return whether there is none."""
    sound = True
    for below, name in placeholders(value):
        root, _, param = name.partition(".")
        if root == "params" and param not in params:
            what, close = f"${{{name}}}: no param is named {param}", closest(param, params)
            meant = f"{what}, did you mean ${{params.{close}}}?" if close else advise(what, "declare it under params")
            report((*path, *below), meant)
            sound = False
    return sound


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _faults(text: str, scope: Scope) -> Iterator[str]:
    for found in PLACEHOLDER.finditer(text):
        if found[1]:
            continue
        name = found[2].strip()
        if not found[3] and text.startswith("{", found.end()):
            yield advise("${{ is of GitHub Actions", f"write ${{…}} with one brace; {LITERAL}")
        elif not found[3]:
            yield not_closed(found)
        elif not scope.knows(name):
            yield _meant(name, scope).after(f"{found[0][:60]}: ")


def _meant(name: str, scope: Scope) -> Message:
    bare = name
    root, _, rest = bare.partition(".")
    if name.startswith("run.slot"):
        what = "of a slot only the whole is known here"
        return advise(what, "declare a param, and let schedule.params give it")
    if root in ("secrets", "secret"):
        return Message("a secret is an environment variable of the run, the job reads it there")
    if not scope.of_steps and IN_FLOW.knows(name):
        return advise("only the steps of a flow have it", "use it below steps, or remove it")
    if not scope.has_env and IN_JOB.knows(name):
        what = "only a task knows the environment of its worker"
        return advise(what, "use it in kwargs or env of a step with task, or declare a param")
    if scope.of_steps and root in ("steps", "step", "needs", "item", "items", "matrix", "outputs"):
        return _meant_of_steps(name)
    if rest and (close := closest(root, ("run", "params", "env", *(("steps",) if scope.of_steps else ())))):
        bare = f"{close}.{rest}"
    if not scope.knows(bare):
        if f"run.{bare}" in _RUN:
            bare = f"run.{bare}"
        elif close := closest(bare, _RUN):
            bare = close
        elif re.fullmatch(_NAME, bare):
            bare = f"env.{bare}" if bare.isupper() else f"params.{bare}"
    if scope.has_env and bare.startswith("env.") and bare == f"env.{name}":
        write = f"write ${name} for a shell, ${{{bare}}} for a variable of the worker; {LITERAL}"
        return advise("there is no such name", write)
    if scope.knows(bare):
        return Message(f"there is no such name, did you mean ${{{bare}}}? W{LITERAL[1:]}")
    return advise(f"there is no such name, {scope.all}", LITERAL, "; ")


_NOT_OF_STEP = re.compile(rf"(?:steps?|needs)\.(?P<step>{STEP_WORD})(?P<rest>(?:[.\[].*)?)")


def _meant_of_steps(name: str) -> Message:
    found = _NOT_OF_STEP.fullmatch(name)
    if found is None:
        below = name.partition(".")[2]
        if IN_FLOW.knows(bare := f"item.{below}" if below else "item"):
            return Message(f"there is no such name, did you mean ${{{bare}}}?")
        return advise("cannot be read", "write ${item}, ${item.key}, or ${item[0]}")
    step, rest = found["step"], found["rest"]
    word = re.match(r"\.?([A-Za-z_]*)", rest)
    meant = closest(word[1] if word else "", ("result", "results", "state")) or "result"
    below = re.sub(r"^\.(?:outputs?|values?|returns?|[A-Za-z_]*)(?=[.\[]|$)", "", rest)
    bare = f"steps.{step}.{meant}" + (below if meant != "state" else "")
    if not IN_FLOW.knows(bare):
        bare = f"steps.{step}.{meant}"
    return Message(f"there is no such name, did you mean ${{{bare}}}?")


def template_schema(scope: Scope) -> dict[str, Any]:
    """Return the rule for a JSON value with ``${…}`` at any depth, to stand where ``scope`` says."""
    here = {"$ref": scope.ref}
    return {**_rule(scope), "items": here, "additionalProperties": here}


def _rule(scope: Scope) -> dict[str, Any]:
    pattern = r"^(?![\s\S]*(?:^|[^$])\$\{(?!\s*(?:" + scope.known + r")\s*\}))"
    return {"pattern": pattern, **editor_message(f"{scope.all}; {LITERAL}")}


@dataclass(frozen=True, slots=True)
class Template:
    """A value of kind ``of`` in which ``${…}`` stands for what a run brings; held as it is written.

    Whether a param that it names is declared is known to the job alone: :func:`params_known`.
    """

    of: ValueType
    any_depth: bool = False
    scope: Scope = IN_JOB

    def read(self, value: Any, path: Path, report: Report) -> Any:
        read = self.of.read(value, path, report)
        return read if read is INVALID or self._sound(read, path, report) else INVALID

    def _sound(self, value: Any, path: Path, report: Report) -> bool:
        if isinstance(value, str):
            faults = list(_faults(value, self.scope)) if "${" in value else []
            for fault in faults:
                report(path, fault)
            return not faults
        items: Iterable[tuple[str | int, Any]] = ()
        if isinstance(value, list):
            items = enumerate(value)
        elif isinstance(value, dict):
            items = value.items()
        # Each is looked at: all problems are told in one go.
        return False not in [self._sound(item, (*path, key), report) for key, item in items]

    def schema(self) -> dict[str, Any]:
        return {"$ref": self.scope.ref} if self.any_depth else {**self.of.schema(), **_rule(self.scope)}

    def write(self, value: Any) -> Any:
        return value
