"""Compares what a job gives with what its function takes. Pure: the function is there already."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from runner.model.job import JobSpec
from runner.model.option import Path, did_you_mean
from runner.model.param import Param
from runner.spec.annotation import fits_type, fits_value, hints_of, show
from runner.spec.params import show as show_value
from runner.spec.problem import Severity

_TYPE_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}
_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Fault(NamedTuple):
    """What is wrong with a job; ``path`` is below the job."""

    path: Path
    message: str
    on_key: bool = False
    severity: Severity = "error"


def faults_of(job: JobSpec, target: Callable[..., Any]) -> Iterator[Fault]:
    """Yield what does not fit between a job and the callable behind its ``task``.

    A target may say more about itself: ``reserved`` names arguments that only YAML may give, and
    ``check_kwargs(kwargs)`` yields pairs of the name of a fixed kwarg and what is wrong with it (an empty name
    for all of them together).
    """
    yield from _kind_faults(target)
    try:
        parameters = inspect.signature(target).parameters
    except (ValueError, TypeError):
        return  # written in C, without a signature
    yield from _Comparison(job, target, parameters).faults()
    for name, message in getattr(target, "check_kwargs", lambda _: ())(dict(job.kwargs)):
        yield Fault(("kwargs", name) if name else ("kwargs",), message)


def _kind_faults(target: Any) -> Iterator[Fault]:
    function = inspect.unwrap(target)
    if inspect.iscoroutinefunction(function):
        yield Fault(
            ("task",), "is a coroutine function, which nobody would await; call asyncio.run in a plain function"
        )
    elif inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield Fault(("task",), "is a generator function, of which nothing would run; write a function without yield")


class _Comparison:
    def __init__(self, job: JobSpec, target: Any, parameters: Mapping[str, inspect.Parameter]) -> None:
        self.job = job
        self.parameters = parameters
        self.hints = hints_of(target)
        self.name = job.task
        self.reserved = frozenset(getattr(target, "reserved", ()))
        self.positional = [each.name for each in parameters.values() if each.kind in _POSITIONAL]
        self.taken = self.positional[: len(job.args)]
        kinds = {each.kind for each in parameters.values()}
        self.any_positional = inspect.Parameter.VAR_POSITIONAL in kinds
        self.any_keyword = inspect.Parameter.VAR_KEYWORD in kinds
        self.keywords = [each.name for each in parameters.values() if each.kind in _KEYWORD]

    def faults(self) -> Iterator[Fault]:
        yield from self._args()
        for name, value in self.job.kwargs.items():
            path = ("kwargs", name)
            if self.reserved and self.any_keyword and name not in self.reserved:
                yield Fault(path, f"{self.name} has no option of that name{self._meant(name, self.reserved)}", True)
            elif (fault := self._unknown(name)) is not None:
                yield Fault(path, fault, True)
            elif not _has_placeholder(value) and not fits_value(self._hint(name), value):
                yield Fault(path, f"{self.name} takes {self._shown(name)}, not {show_value(value)}")
        for name, param in self.job.params.items():
            yield from self._param(name, param)
        yield from self._missing()

    def _args(self) -> Iterator[Fault]:
        for index, (name, value) in enumerate(zip(self.taken, self.job.args, strict=False)):
            if not fits_value(self._hint(name), value):
                yield Fault(
                    ("args", index), f"{self.name} takes {self._shown(name)} for {name}, not {show_value(value)}"
                )
        if len(self.job.args) > len(self.positional) and not self.any_positional:
            most = len(self.positional)
            taken = f"{most} by position" if most else "none by position"
            yield Fault(("args",), f"{self.name} takes {taken}, remove {len(self.job.args) - most} or use kwargs")

    def _param(self, name: str, param: Param) -> Iterator[Fault]:
        path = ("params", name)
        if name in self.reserved:
            yield Fault(path, "would let a submitter set what only YAML may, rename it", True)
            return
        if (fault := self._unknown(name)) is not None:
            yield Fault(path, fault, True)
            return
        told = f"{self.name} takes {self._shown(name)}"
        hint = self._hint(name)
        for keyword in ("const", "enum"):
            if keyword in param.schema:
                values = [param.schema[keyword]] if keyword == "const" else param.schema[keyword]
                wrong = [value for value in values if not fits_value(hint, value)]
                if wrong:
                    yield Fault((*path, keyword), f"{told}, not {show_value(wrong[0])}")
                return
        wrong_types = [_TYPE_WORDS[each] for each in param.types if not fits_type(hint, each)]
        if wrong_types:
            advice = "change the type, or the annotation in the code"
            yield Fault((*path, "type"), f"{told}, and the param may be {' or '.join(wrong_types)}; {advice}")
        elif not param.types and param.has_default and not fits_value(hint, param.default):
            yield Fault((*path, "default"), f"{told}, not {show_value(param.default)}")

    def _missing(self) -> Iterator[Fault]:
        for each in self.parameters.values():
            needed = each.default is inspect.Parameter.empty and each.kind in (*_POSITIONAL, *_KEYWORD)
            if not needed or each.name in self.taken or each.name in self.job.kwargs:
                continue
            param = self.job.params.get(each.name)
            if each.kind is inspect.Parameter.POSITIONAL_ONLY:
                if param is None:
                    yield Fault(("task",), f"{self.name} needs {each.name} by position, add it to args")
            elif param is None:
                yield Fault(("task",), f"{self.name} needs {each.name}; add it to params, or fix it in kwargs")
            elif not param.required and not param.has_default:
                advice = "add required: true, or a default"
                yield Fault(
                    ("params", each.name), f"may be left out, but {self.name} has no default for it; {advice}", True
                )

    def _unknown(self, name: str) -> str | None:
        """Return why an argument can not be given by this name, or None."""
        if name in self.taken:
            return f"is given by args already, as number {self.taken.index(name) + 1}; remove one of them"
        if name in self.keywords or self.any_keyword:
            return None
        if name in self.parameters:
            return f"{self.name} takes it by position only, use args"
        return f"{self.name} takes no argument of that name{self._meant(name, self.keywords)}"

    def _meant(self, name: str, known: Any) -> str:
        if not known:
            return ", remove it"
        return did_you_mean(name, known) or f", it takes {', '.join(sorted(known))}"

    def _hint(self, name: str) -> Any:
        return self.hints.get(name, Any)

    def _shown(self, name: str) -> str:
        return show(self._hint(name))


def _has_placeholder(value: Any) -> bool:
    """Whether the value is only known when the job runs."""
    return isinstance(value, str) and "${" in value
