"""Compare the arguments of a job with the signature of its function. Pure: the function is already loaded."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from runner.authoring.annotation import fits_type, fits_value, hints_of, show
from runner.model.job import JobSpec
from runner.model.message import Message, advise, as_message
from runner.model.option import Path, closest
from runner.model.param import Param
from runner.params.values import ARTICLES
from runner.params.values import show as show_value
from runner.yaml_reader.problem import Severity

_KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


_DEEPEST = 100
"""The maximum number of layers of decorators and partials to unwrap."""


class Fault(NamedTuple):
    """A fault of a job; ``path`` is relative to the job.

    The message is a :class:`~runner.model.message.Message` if it has a remedy.
    """

    path: Path
    message: str
    on_key: bool = False
    severity: Severity = "error"

    def as_json(self) -> list[Any]:
        """Return the fault as plain JSON values, for :meth:`of_json`."""
        message = as_message(self.message)
        return [list(self.path), message, self.on_key, self.severity, message.remedy, message.replacement]

    @classmethod
    def of_json(cls, values: Sequence[Any]) -> Fault:
        """Return the fault that :meth:`as_json` has written."""
        path, text, on_key, severity, remedy, replacement = values
        return cls(tuple(path), Message(text, remedy, replacement=replacement), on_key, severity)


def faults_of(job: JobSpec, target: Callable[..., Any]) -> Iterator[Fault]:
    """Yield the mismatches between a job and the callable behind its ``task``.

    A target may declare more: ``reserved`` lists arguments that only YAML may set, and ``check_kwargs(kwargs)`` yields
    pairs of the name of a fixed kwarg (empty for all of them together) and a message.
    """
    yield from kind_faults(target)
    try:
        parameters = inspect.signature(target).parameters
    except (ValueError, TypeError):
        return  # a C function without a signature
    found = list(_Comparison(job, target, parameters).faults())
    yield from found
    misspelled = any(fault.path[0] == "kwargs" and fault.on_key for fault in found)
    for name, message in _check_of(target)(dict(job.kwargs)):
        if not name and misspelled:
            continue  # the kwarg that is missing is probably the one with the wrong name
        yield Fault(("kwargs", name) if name else ("kwargs",), message)


def kind_faults(target: Any) -> Iterator[Fault]:
    """Yield the faults of a callable that no job can run."""
    if any(_generates(function) for function in _behind(target)):
        yield Fault(
            ("task",),
            advise("is a generator function, so its body would never run", "write a function without yield", "; "),
        )


def _generates(target: Any) -> bool:
    if inspect.isasyncgenfunction(target):
        return True
    if not inspect.isgeneratorfunction(target):
        return False
    # Functions marked by ``types.coroutine`` are awaited like coroutines.
    code = getattr(inspect.unwrap(getattr(target, "__func__", target)), "__code__", None)
    return code is None or not code.co_flags & inspect.CO_ITERABLE_COROUTINE


def _behind(target: Any) -> Iterator[Any]:
    """Yield a callable and the callables behind it: through decorators, partials, methods, and callable objects."""
    seen: list[Any] = []
    while target is not None and len(seen) < _DEEPEST and not any(target is previous for previous in seen):
        seen.append(target)
        yield target
        if isinstance(target, functools.partial):
            target = target.func
        elif hasattr(target, "__wrapped__"):
            target = target.__wrapped__
        elif inspect.ismethod(target):
            target = target.__func__
        elif not inspect.isroutine(target) and not isinstance(target, type):
            target = type(target).__call__ if callable(target) else None
        else:
            target = None


class _Comparison:
    def __init__(self, job: JobSpec, target: Any, parameters: Mapping[str, inspect.Parameter]) -> None:
        self.job = job
        # A step gets only its kwargs; params are only for filling them in.
        self.params: Mapping[str, Param] = job.params if job.step is None else {}
        self.check = _check_of(target)
        self.parameters = parameters
        self.hints = hints_of(target)
        self.name = job.task
        self.reserved = frozenset(getattr(target, "reserved", ()))
        self.positional = [parameter.name for parameter in parameters.values() if parameter.kind in _POSITIONAL]
        self.taken = self.positional[: len(job.args)]
        kinds = {parameter.kind for parameter in parameters.values()}
        self.any_positional = inspect.Parameter.VAR_POSITIONAL in kinds
        self.any_keyword = inspect.Parameter.VAR_KEYWORD in kinds
        self.keywords = [parameter.name for parameter in parameters.values() if parameter.kind in _KEYWORD]

    def faults(self) -> Iterator[Fault]:
        yield from self._args()
        checked = {name for name, _ in self.check(dict(self.job.kwargs))}
        for name, value in self.job.kwargs.items():
            path = ("kwargs", name)
            if self.reserved and self.any_keyword and name not in self.reserved:
                yield Fault(path, self._meant(f"{self.name} has no option of that name", name, self.reserved), True)
            elif (fault := self._unknown(name)) is not None:
                yield Fault(path, fault, True)
            elif name not in checked and not _has_placeholder(value) and not fits_value(self._hint(name), value):
                what = f"{self.name} takes {self._shown(name)}, not {show_value(value)}"
                advice = self._instead(name, value)
                yield Fault(path, advise(what, f"write {advice}") if advice else what)
        for name, param in self.params.items():
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
            yield Fault(
                ("args",), advise(f"{self.name} takes {taken}", f"remove {len(self.job.args) - most} or use kwargs")
            )

    def _param(self, name: str, param: Param) -> Iterator[Fault]:
        path = ("params", name)
        if name in self.reserved:
            yield Fault(path, advise("would let a submitter set an option that only YAML may set", "rename it"), True)
            return
        if (fault := self._unknown(name)) is not None:
            yield Fault(path, fault, True)
            return
        takes = f"{self.name} takes {self._shown(name)}"
        hint = self._hint(name)
        for keyword in ("const", "enum"):
            if keyword in param.schema:
                values = [param.schema[keyword]] if keyword == "const" else param.schema[keyword]
                wrong = [value for value in values if not fits_value(hint, value)]
                if wrong:
                    yield Fault((*path, keyword), f"{takes}, not {show_value(wrong[0])}")
                return
        wrong_types = [ARTICLES[type_] for type_ in param.types if not fits_type(hint, type_)]
        if wrong_types:
            advice = "change the type, or the annotation in the code"
            what = f"{takes}, and the param may be {' or '.join(wrong_types)}"
            yield Fault((*path, "type"), advise(what, advice, "; "))
        elif not param.types and param.has_default and not fits_value(hint, param.default):
            yield Fault((*path, "default"), f"{takes}, not {show_value(param.default)}")

    def _missing(self) -> Iterator[Fault]:
        for parameter in self.parameters.values():
            needed = parameter.default is inspect.Parameter.empty and parameter.kind in (*_POSITIONAL, *_KEYWORD)
            if not needed or parameter.name in self.taken or parameter.name in self.job.kwargs:
                continue
            param = self.params.get(parameter.name)
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                if param is None:
                    yield Fault(("task",), advise(f"{self.name} needs {parameter.name} by position", "add it to args"))
            elif param is None:
                advice = "add it to params, or fix it in kwargs" if self.job.step is None else "add it to kwargs"
                yield Fault(("task",), advise(f"{self.name} needs {parameter.name}", advice, "; "))
            elif not param.required and not param.has_default:
                advice = "add required: true, or a default"
                what = f"may be left out, but {self.name} has no default for it"
                yield Fault(("params", parameter.name), advise(what, advice, "; "), True)

    def _unknown(self, name: str) -> str | None:
        """Return the reason why an argument cannot have this name, or None."""
        if name in self.taken:
            return advise(
                f"is given by args already, as number {self.taken.index(name) + 1}", "remove one of them", "; "
            )
        if name in self.keywords or self.any_keyword:
            return None
        if name in self.parameters:
            return advise(f"{self.name} takes it by position only", "use args")
        return self._meant(f"{self.name} takes no argument of that name", name, self.keywords)

    def _meant(self, what: str, name: str, known: Any) -> Message:
        if not known:
            return advise(what, "remove it")
        close = closest(name, known)
        if close is None:
            return Message(f"{what}, it takes {', '.join(sorted(known))}")
        return Message(f"{what}, did you mean {close}?", replacement=close if self._free(name, close) else "")

    def _free(self, name: str, close: str) -> bool:
        """Return whether a kwarg or param named ``close`` would be valid in place of ``name``."""
        if close in self.taken or close in self.job.kwargs or close in self.params:
            return False
        if name not in self.job.kwargs:
            return not list(self._param(close, self.params[name]))
        value, kwargs = self.job.kwargs[name], self.job.kwargs
        if not _has_placeholder(value) and not fits_value(self._hint(close), value):
            return False
        renamed = {close if key == name else key: given for key, given in kwargs.items()}
        return set(self.check(renamed)) <= set(self.check(dict(kwargs)))

    def _instead(self, name: str, value: Any) -> str:
        """Return a valid value in place of one of a wrong type, as YAML, or an empty text."""
        texts = [f"{value}", f"{value}s"] if type(value) in (int, float) else []
        for text in [*texts, *([[value]] if isinstance(value, str) else [])]:
            if fits_value(self._hint(name), text) and all(at != name for at, _ in self.check({name: text})):
                return show_value(text)
        return ""

    def _hint(self, name: str) -> Any:
        return self.hints.get(name, Any)

    def _shown(self, name: str) -> str:
        return show(self._hint(name))


def _check_of(target: Any) -> Callable[[dict[str, Any]], Iterable[tuple[str, str]]]:
    """Return the function that checks the fixed kwargs of a target; see :func:`faults_of`."""
    check: Callable[[dict[str, Any]], Iterable[tuple[str, str]]] = getattr(target, "check_kwargs", lambda _: ())
    return check


def _has_placeholder(value: Any) -> bool:
    """Return whether the value is only known when the job runs."""
    return isinstance(value, str) and "${" in value
