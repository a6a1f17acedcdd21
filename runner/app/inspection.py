"""Looks at one callable: whether a job fits it, and what a new job for it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from celery import Task

from runner.app.target import TargetError, load_exceptions, load_target
from runner.model.job import JOB, JobSpec
from runner.model.option import did_you_mean
from runner.spec.docstring import read_docstring
from runner.spec.param_of import param_of
from runner.spec.signature import Fault, faults_of

_MACHINERY = ("/runner/app/target.py", "/pkgutil.py", "/importlib/__init__.py")
_failed: dict[str, str] = {}
"""Modules that can not be imported, and why: each is tried once in a process."""


def examine(name: str, options: dict[str, Any], stage: Callable[[str], None]) -> dict[str, Any]:
    """Return what is wrong between a job and its code, as an answer of ``runner.app.import_check``.

    Args:
        name: of the job.
        options: of the job, as they would stand in YAML.
        stage: is told what is about to be imported.
    """
    values, _ = JOB.read_fields(options, (), _ignore)
    job = JobSpec(name=name, **values)
    faults: list[Fault] = []
    stage("task")
    target, fault = _load(job.task)
    if fault is not None:
        faults.append(Fault(("task",), fault))
    elif target is not None:
        faults += faults_of(job, target)
    for option, names in (("for", job.retry.for_), ("not_for", job.retry.not_for)):
        stage(f"retry.{option}")
        for index, each in enumerate(names):
            try:
                load_exceptions([each])
            except TargetError as error:
                faults.append(Fault(("retry", option, index), _exception_fault(each, error)))
    return {"job": name, "faults": [[list(each.path), *each[1:]] for each in faults]}


def describe(path: str) -> dict[str, Any]:
    """Return what ``runner new`` needs to know of a callable.

    Returns:
        ``{"error": message}``, or ``{"description", "reserved", "example", "params"}``, the last as :func:`param_of`
        gives each; ``reserved`` and ``example`` are those of a stock task.
    """
    target, fault = _load(path)
    if target is None:
        return {"error": fault}
    faults = [each.message for each in faults_of(JobSpec(name="new", task=path), target) if each.path == ("task",)]
    broken = [message for message in faults if message.startswith("is a ")]
    if broken:
        return {"error": f"{path} {broken[0]}"}
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (ValueError, TypeError):
        parameters = []
    text = read_docstring(inspect.getdoc(getattr(target, "func", target)) or "")
    return {
        "description": text.summary,
        "reserved": sorted(getattr(target, "reserved", ())),
        "example": getattr(target, "example", None),
        "params": [param_of(each, target, text.params.get(each.name)) for each in parameters],
    }


def _load(path: str) -> tuple[Any, str | None]:
    """Return what to call, or why it cannot be had."""
    module = path.partition(":")[0] if ":" in path else path.rpartition(".")[0]
    if module in _failed:
        return None, _failed[module]
    try:
        found = load_target(path)
    except TargetError as error:
        cause = error.__cause__
        if cause is None:
            return None, str(error)
        if isinstance(cause, AttributeError) and (guess := _known_names(cause)) is not None:
            return None, f"{module} has no {path[len(module) + 1 :]}{guess}"
        message = f"cannot be imported: {type(cause).__name__}: {cause}{_place(cause)}"
        if not isinstance(cause, AttributeError):
            _failed[module] = message
        return None, message
    return (found.run if isinstance(found, Task) else found), None


def _known_names(error: AttributeError) -> str | None:
    """Return what was probably meant, if it is a module or a class that lacks a name."""
    if error.obj is None or error.name is None or error.__traceback__ is None:
        return None
    names = {name: value for name, value in vars(error.obj).items() if callable(value) and not name.startswith("_")}
    home = getattr(error.obj, "__name__", "")
    own = [name for name, value in names.items() if getattr(value, "__module__", "") == home]
    guess = did_you_mean(error.name, names)
    return guess or (f", it has {', '.join(sorted(own)[:8])}" if own else "")


def _place(error: BaseException) -> str:
    """Return where in somebody's code an import failed."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and not file.endswith(_MACHINERY):
            place = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its message has the place
    return place


def _exception_fault(name: str, error: TargetError) -> str:
    cause = error.__cause__
    if cause is not None:
        return f"{name} cannot be imported: {type(cause).__name__}: {cause}; write module.Class"
    import builtins

    known = [each for each, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)]
    if "." in name or ":" in name or hasattr(builtins, name):
        return f"{name} is no exception class"
    return f"there is no exception {name}{did_you_mean(name, known) or '; write module.Class'}"


def _ignore(path: Any, message: str, *, on_key: bool = False) -> None:
    pass
