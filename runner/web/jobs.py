"""The YAML of a job, and the form of its params."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runner._dataclass import dataclass
from runner.host.regular import read_regular
from runner.model.job import JOB, JobSpec
from runner.model.option import options_of
from runner.model.param import Param
from runner.yaml_reader.reader import MAX_BYTES


def job_yaml(job: JobSpec) -> str:
    """Return the options of a job as YAML, with the defaults of its file merged in."""
    values = {declared.field: getattr(job, declared.field) for declared in options_of(JobSpec)}
    # The task comes first, even if it is a default of the file.
    written = {**({"task": job.task} if job.task is not None else {}), **JOB.write_fields(values)}
    return str(yaml.safe_dump({job.name: written}, sort_keys=False, allow_unicode=True, width=90))


@dataclass(frozen=True, slots=True)
class Source:
    """Lines of a file, without the indentation that they have in common, and the number of the first one."""

    text: str
    first: int

    @property
    def numbers(self) -> str:
        """The numbers of the lines, one in each line."""
        return "\n".join(str(self.first + index) for index in range(self.text.count("\n") + 1))


def job_source(project: Path, job: JobSpec) -> Source | None:
    """Return the lines of its file that declare a job, with the comments above and in them; None if they are gone.

    The options of a job stand below its name and are indented more, so its lines end where another job begins.
    """
    try:
        lines = read_regular(project / job.file, MAX_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    first = job.line - 1
    if not 0 <= first < len(lines) or job.name not in lines[first]:
        return None
    indent = _indent(lines[first])
    last = first
    for number in range(first + 1, len(lines)):
        text = lines[number].strip()
        if not text:
            continue
        if _indent(lines[number]) <= indent and text not in ("}", "},"):
            break
        last = number
    while first > 0 and lines[first - 1].strip().startswith("#") and _indent(lines[first - 1]) == indent:
        first -= 1
    shown = (line[indent:] if not line[:indent].strip() else line for line in lines[first : last + 1])
    return Source("\n".join(shown), first + 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


@dataclass(frozen=True, slots=True)
class Field:
    """A param or an option in a form. ``rules`` are HTML attributes.

    ``kind`` is text, email, number, date, choice, choices, flag, lines, or data. ``values`` are the selected choices.
    """

    name: str
    kind: str
    required: bool
    description: str
    value: str
    choices: tuple[str, ...] = ()
    rules: tuple[tuple[str, str], ...] = ()
    hint: str = ""
    label: str = ""
    values: tuple[str, ...] = ()
    preset: bool = False
    """Whether one of the choices is the default, so that the form has no empty choice."""
    default: str = ""
    """The value of an empty field, if it has one."""


_RULES = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}
_INPUTS = {"date": "date", "email": "email"}
_LONG_TEXT = 120
_HINTS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "pattern": "matches {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "format": "{}",
}


def form_of(job: JobSpec, given: Mapping[str, Any] | None = None) -> list[Field]:
    """Return the fields of a job's params, in their order.

    ``given`` are initial values, such as the params of another run, or texts that were typed.
    """
    return [_field(name, param, given or {}) for name, param in job.params.items()]


def _field(name: str, param: Param, given: Mapping[str, Any]) -> Field:
    schema = param.schema
    types = [name for name in param.types if name != "null"]
    single = types[0] if len(types) == 1 else None
    value = given.get(name, param.default)
    # An empty field sets no param. So it stands for null if text is allowed: a typed null would be the text "null".
    shown = "" if value is None and ("string" in types or param.default is None) else _text(value)
    choices: tuple[str, ...] = ()
    rules = [(html, _text(schema[keyword])) for keyword, html in _RULES.items() if keyword in schema]
    if "enum" in schema:
        kind, choices, rules = "choice", tuple(_text(choice) for choice in schema["enum"] if choice is not None), []
    elif single in ("integer", "number"):
        # Steps are counted from the least value, so that other numbers would be refused.
        kind, rules = "number", [*rules, ("step", "1" if single == "integer" and _whole(schema) else "any")]
    elif single == "boolean":
        kind, choices = "choice", ("true", "false")
    elif single == "string":
        kind = _INPUTS.get(str(schema.get("format")), "text")
        if kind == "text" and ("\n" in shown or int(schema.get("maxLength", 0)) > _LONG_TEXT):
            kind = "lines"
    else:
        kind, rules = "data", []
    description = str(schema.get("description") or "")
    default = _text(param.default) if param.has_default and param.default is not None else ""
    return Field(
        name, kind, param.required, description, shown, choices, tuple(rules), _hint(kind, param), default=default
    )


def _whole(schema: Mapping[str, Any]) -> bool:
    return float(schema.get("minimum", 0)).is_integer()


def _hint(kind: str, param: Param) -> str:
    """Describe the rules that a browser does not check, or that people should know before they type."""
    found = [text.format(_text(param.schema[key])) for key, text in _HINTS.items() if key in param.schema]
    if kind in _INPUTS.values():
        found.remove(str(param.schema["format"]))
    if kind == "data":
        found.insert(0, "JSON or YAML, such as " + ("[a, b]" if "array" in param.types else "{a: 1}"))
    return ", ".join(found)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
