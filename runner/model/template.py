"""Texts with placeholders: ``${run.id}``, ``${run.slot}``, ``${params.NAME}``, and ``${env.NAME}``.

A template is stored as it is written. A text that is a single placeholder becomes its value, with the value's type; in
a longer text, a value that is not a string is written as JSON, and null as nothing. ``$${`` stands for a literal
``${``. Placeholders in keys of mappings are not replaced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from functools import cache
from typing import Any

from runner._dataclass import dataclass
from runner.model.message import Message, advise, suggest
from runner.model.value_type import INVALID, Path, Report, ValueType, closest, editor_message

PLACEHOLDER = re.compile(r"\$(\$?)\{([^{}]*)(\}?)")
"""A placeholder, as the second ``$`` that escapes it, the name, and the closing brace."""
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_RUN = ("run.id", "run.slot")
STEP_WORD = "[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?"
"""The name of a step; it has no dots, because it is part of placeholders."""
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
    """The name of the rule for a JSON value with placeholders, under ``$defs`` in the JSON Schema of a jobs file."""
    known: str
    """A regular expression that matches the names, for Python and ECMA-262."""
    all: str
    """The placeholders that may be used, as a sentence for messages."""
    has_env: bool = True
    of_steps: bool = False

    @property
    def ref(self) -> str:
        """The JSON reference to that rule."""
        return f"#/$defs/{self.name}"

    def knows(self, name: str) -> bool:
        """Return whether ``${name}`` may be used here."""
        return _compiled(self.known).fullmatch(name) is not None


IN_JOB = Scope("template", rf"{_GIVEN}|env\.{_NAME}", "use ${run.id}, ${run.slot}, ${params.NAME}, or ${env.NAME}")
"""The options of a job."""
IN_TASK_STEP = Scope(
    "step_template",
    rf"{_GIVEN}|env\.{_NAME}|{_OF_STEPS}",
    "use ${run.id}, ${run.slot}, ${params.NAME}, ${env.NAME}, " + _ALL_OF_STEPS,
    of_steps=True,
)
"""The options of a step that are passed to its task."""
IN_FLOW = Scope(
    "flow_template",
    rf"{_GIVEN}|{_OF_STEPS}",
    "use ${run.id}, ${run.slot}, ${params.NAME}, " + _ALL_OF_STEPS,
    has_env=False,
    of_steps=True,
)
"""The options of a step that are resolved before it starts, outside of a worker."""
SCOPES = (IN_JOB, IN_TASK_STEP, IN_FLOW)


class Unset(LookupError):
    """The environment variable of ``${env.NAME}`` is not set; the argument is its name."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The values of a run's placeholders. ``slot`` is in RFC 3339, ``env`` is the environment of the worker."""

    run_id: str | None = None
    slot: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)

    def look_up(self, name: str) -> Any:
        """Return the value of ``${name}``; None if the run has no such slot or param.

        Raises:
            Unset: the name is an environment variable that is not set.
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
    """Return a copy of ``value`` with the placeholders of all texts replaced, at any depth."""
    if isinstance(value, str):
        return render(value, look_up)
    if isinstance(value, Mapping):
        return {key: expand(item, look_up) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [expand(item, look_up) for item in value]
    return value


def render(text: str, look_up: Callable[[str], Any]) -> Any:
    """Return ``text`` with its placeholders replaced; a text that is a single placeholder becomes the value itself.

    Args:
        text: a text whose placeholders are valid.
        look_up: returns the value of a name such as ``params.region``.
    """
    if "${" not in text:
        return text
    whole = PLACEHOLDER.fullmatch(text)
    if whole is not None and not whole[1]:
        return look_up(whole[2].strip())
    return PLACEHOLDER.sub(lambda found: found[0][1:] if found[1] else as_text(look_up(found[2].strip())), text)


def is_placeholder(text: str) -> bool:
    """Return whether a text is a single placeholder, which becomes the value with its type."""
    whole = PLACEHOLDER.fullmatch(text)
    return whole is not None and not whole[1]


def names(text: str) -> Iterator[str]:
    """Yield the names of the placeholders in a text.

    Raises:
        ValueError: a placeholder is not closed.
    """
    for found in PLACEHOLDER.finditer(text):
        if not found[1]:
            if not found[3]:
                raise ValueError(not_closed(found))
            yield found[2].strip()


def not_closed(found: re.Match[str]) -> Message:
    """Return the message for a placeholder without its closing brace."""
    return advise(f"{found[0][:60]} is not closed", f"write }} after the name; {LITERAL}")


def as_text(value: Any) -> str:
    """Return a value as part of a text: a string unchanged, null as an empty string, any other value as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def placeholders(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the path and the name of each placeholder in a template: ``(("day",), "params.day")``."""
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
    """Report each ``${params.NAME}`` of a template that is not a param of the job; return whether all are."""
    sound = True
    for below, name in placeholders(value):
        root, _, param = name.partition(".")
        if root == "params" and param not in params:
            report((*path, *below), _no_param(name, param, params))
            sound = False
    return sound


def _no_param(name: str, param: str, params: Iterable[str]) -> Message:
    what, close = f"${{{name}}}: no param is named {param}", closest(param, params)
    if close is None:
        return advise(what, "declare it under params")
    meant = f"${{params.{close}}}"
    return suggest(what, meant, replacement=meant).after("", f"${{{name}}}")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _faults(text: str, scope: Scope) -> Iterator[str]:
    for found in PLACEHOLDER.finditer(text):
        if found[1]:
            continue
        name = found[2].strip()
        if not found[3] and text.startswith("{", found.end()):
            yield advise("${{ is the syntax of GitHub Actions", f"write ${{…}} with one brace; {LITERAL}")
        elif not found[3]:
            yield not_closed(found)
        elif not scope.knows(name):
            yield _meant(name, scope).after(f"{found[0][:60]}: ", found[0])


def _meant(name: str, scope: Scope) -> Message:
    """Return the message about a name that is not known in a scope."""
    bare = name
    root, _, rest = bare.partition(".")
    if name.startswith("run.slot"):
        what = "here only the whole slot is known, ${run.slot}"
        return advise(what, "declare a param, and set it in schedule.params")
    if root in ("secrets", "secret"):
        return advise("secrets are environment variables of the run", "remove it, and read the variable in the job")
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
        return advise("there is no such name", write, alternatives=(f"${name}", f"${{{bare}}}"))
    if scope.knows(bare):
        # A param may not be declared.
        replacement = "" if bare.startswith("params.") else f"${{{bare}}}"
        return Message(f"there is no such name, did you mean ${{{bare}}}? W{LITERAL[1:]}", replacement=replacement)
    return advise(f"there is no such name, {scope.all}", LITERAL, "; ")


_NOT_OF_STEP = re.compile(rf"(?:steps?|needs)\.(?P<step>{STEP_WORD})(?P<rest>(?:[.\[].*)?)")


def _meant_of_steps(name: str) -> Message:
    what = "there is no such name"
    found = _NOT_OF_STEP.fullmatch(name)
    if found is None:
        below = name.partition(".")[2]
        if IN_FLOW.knows(bare := f"item.{below}" if below else "item"):
            return suggest(what, f"${{{bare}}}")
        return advise(what, "write ${item}, ${item.key}, or ${item[0]}")
    step, rest = found["step"], found["rest"]
    word = re.match(r"\.?([A-Za-z_]*)", rest)
    meant = closest(word[1] if word else "", ("result", "results", "state")) or "result"
    below = re.sub(r"^\.(?:outputs?|values?|returns?|[A-Za-z_]*)(?=[.\[]|$)", "", rest)
    bare = f"steps.{step}.{meant}" + (below if meant != "state" else "")
    if not IN_FLOW.knows(bare):
        bare = f"steps.{step}.{meant}"
    return suggest(what, f"${{{bare}}}", replacement=f"${{{bare}}}")


def template_schema(scope: Scope) -> dict[str, Any]:
    """Return the JSON Schema of a value with placeholders at any depth, for the entry of ``scope`` in ``$defs``."""
    here = {"$ref": scope.ref}
    return {**_rule(scope), "items": here, "additionalProperties": here}


def _rule(scope: Scope) -> dict[str, Any]:
    pattern = r"^(?![\s\S]*(?:^|[^$])\$\{(?!\s*(?:" + scope.known + r")\s*\}))"
    return {"pattern": pattern, **editor_message(f"{scope.all}; {LITERAL}")}


@dataclass(frozen=True, slots=True)
class Template:
    """A value of type ``of`` with placeholders, stored as it is written.

    Only the job knows whether a param is declared: :func:`params_known` checks that.
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
        # A list, not a generator: every item is checked, so that all problems are reported together.
        return False not in [self._sound(item, (*path, key), report) for key, item in items]

    def schema(self) -> dict[str, Any]:
        return {"$ref": self.scope.ref} if self.any_depth else {**self.of.schema(), **_rule(self.scope)}

    def write(self, value: Any) -> Any:
        return value
