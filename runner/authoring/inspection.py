"""Inspect a callable: whether a job matches it, and the options that a new job needs."""

from __future__ import annotations

import builtins
import inspect
import pkgutil
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from celery import Task

from runner import tasks
from runner.app.target import TargetError, load_exceptions, load_target
from runner.authoring.docstring import read_docstring
from runner.authoring.param_of import param_of
from runner.authoring.signature import Fault, faults_of, kind_faults
from runner.model.job import JOB, JobSpec
from runner.model.message import Message, advise, as_message
from runner.model.option import closest, ignore
from runner.model.step import STEP
from runner.params.placement import judged_name, misplaced

_MACHINERY = ("/runner/app/target.py", "/pkgutil.py", "/importlib/__init__.py")
_failed: dict[str, str] = {}
"""The modules that cannot be imported, with the errors: each is tried once per process."""


def examine(name: str, options: dict[str, Any], stage: Callable[[str], None]) -> dict[str, Any]:
    """Return the mismatches between a job and its code, as an answer of ``runner.authoring.import_check``.

    Args:
        name: the name of the job.
        options: the options of the job, as in YAML.
        stage: called with a description of each import before it starts.
    """
    values, _ = JOB.read_fields(options, (), ignore)
    flow, _, step = name.partition("/")
    if step:
        # In a step, placeholders may use the item and other steps.
        own, _ = STEP.read_fields({key: options[key] for key in ("kwargs", "env") if key in options}, (), ignore)
        values |= {key: own[key] for key in ("kwargs", "env") if key in own}
    job = JobSpec(name=name, flow=flow if step else None, step=step or None, **values)
    faults: list[Fault] = []
    stage("task")
    target, reason = _load(job.import_path)
    if reason is not None:
        faults.append(Fault(("task",), _if_it_fits(reason, job)))
    elif target is not None:
        faults += faults_of(job, target)
        if judged_name(job.task) is None:
            # A stock task under another name; stock tasks are otherwise checked when the file is read.
            faults += (
                Fault(finding.path, finding.message) for finding in misplaced(job, target) if finding.path[0] != "env"
            )
    for option, names in (("for", job.retry.for_), ("not_for", job.retry.not_for)):
        stage(f"retry.{option}")
        for index, exception_name in enumerate(names):
            try:
                load_exceptions([exception_name])
            except TargetError as error:
                faults.append(Fault(("retry", option, index), _exception_fault(exception_name, error)))
    return {"job": name, "faults": [fault.as_json() for fault in faults]}


def task_fault(job: JobSpec) -> Fault | None:
    """Return the fault of a task that cannot be loaded, or None. This imports its module in this process."""
    _, fault = _load(job.import_path)
    return None if fault is None else Fault(("task",), _if_it_fits(fault, job))


def _if_it_fits(fault: str, job: JobSpec) -> Message:
    """Return the message about a task that cannot be loaded, with a replacement only if it matches the job."""
    message = as_message(fault)
    if message.replacement:
        target, wrong = _load(message.replacement)
        if wrong is not None or any(faults_of(replace(job, task=message.replacement), target)):
            return Message(message, message.remedy)
    return message


def describe(path: str) -> dict[str, Any]:
    """Return the facts about a callable that ``runner new`` needs.

    Returns:
        ``{"error": message}``, or ``{"description", "reserved", "example", "params"}``, the last as :func:`param_of`
        gives each; ``reserved`` and ``example`` are those of a stock task.
    """
    target, fault = _load(path)
    if target is None:
        return {"error": fault}
    broken = next(kind_faults(target), None)
    if broken is not None:
        return {"error": f"{path} {broken.message}"}
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (ValueError, TypeError):
        parameters = []
    text = read_docstring(inspect.getdoc(getattr(target, "func", target)) or "")
    return {
        "description": text.summary,
        "reserved": sorted(getattr(target, "reserved", ())),
        "example": getattr(target, "example", None),
        "params": [param_of(parameter, target, text.params.get(parameter.name)) for parameter in parameters],
    }


def _load(path: str) -> tuple[Any, str | None]:
    """Return the callable, or the reason why it cannot be loaded."""
    module = path.partition(":")[0] if ":" in path else path.rpartition(".")[0]
    if module in _failed:
        return None, _failed[module]
    try:
        found = load_target(path)
    except TargetError as error:
        cause = error.__cause__
        if cause is None:
            return None, str(error)
        if isinstance(cause, AttributeError) and (known := _known_names(cause)) is not None:
            return None, _no_such_name(path, module, cause, known)
        if isinstance(cause, ModuleNotFoundError) and f"{cause.name}".startswith(f"{tasks.__name__}."):
            return None, _no_stock_module(path, str(cause.name))
        message = f"cannot be imported: {type(cause).__name__}: {cause}{_failed_at(cause)}"
        if not isinstance(cause, AttributeError):
            _failed[module] = message
        return None, message
    return (found.run if isinstance(found, Task) else found), None


def _known_names(error: AttributeError) -> dict[str, Any] | None:
    """Return the callables of the module or class that lacks a name; None if it is neither."""
    if error.obj is None or error.name is None or error.__traceback__ is None:
        return None
    return {name: value for name, value in vars(error.obj).items() if callable(value) and not name.startswith("_")}


def _no_such_name(path: str, module: str, error: AttributeError, known: dict[str, Any]) -> Message:
    """Return the message about an import path whose module lacks the name, with the probable path."""
    asked = path[len(module) + 1 :]
    what = f"{module} has no {asked}"
    close = closest(str(error.name), known)
    if close is not None:
        meant = path[: len(module) + 1] + re.sub(rf"\b{re.escape(str(error.name))}\b", close, asked, count=1)
        return Message(f"{what}, did you mean {close}?", replacement=meant)
    home = getattr(error.obj, "__name__", "")
    own = [name for name, value in known.items() if getattr(value, "__module__", "") == home]
    return Message(f"{what}, it has {', '.join(sorted(own)[:8])}" if own else what)


def _no_stock_module(path: str, module: str) -> Message:
    """Return the message about a misspelled module of ``runner.tasks``, with the probable path."""
    asked = module.removeprefix(f"{tasks.__name__}.")
    known = [found.name for found in pkgutil.iter_modules(tasks.__path__)]
    what, close = f"{tasks.__name__} has no {asked}", closest(asked, known)
    if close is None:
        return advise(what, f"write {tasks.__name__}.shell:run for a command, or correct it", "; ")
    return Message(f"{what}, did you mean {close}?", replacement=path.replace(module, f"{tasks.__name__}.{close}", 1))


def _failed_at(error: BaseException) -> str:
    """Return the place in the user's code where an import failed."""
    trace = error.__traceback__
    location = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and not file.endswith(_MACHINERY):
            location = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its message has the location
    return location


def _exception_fault(name: str, error: TargetError) -> str:
    cause = error.__cause__
    if cause is not None:
        return advise(f"{name} cannot be imported: {type(cause).__name__}: {cause}", "write module.Class", "; ")
    known = [
        builtin for builtin, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
    ]
    if "." in name or ":" in name or hasattr(builtins, name):
        return f"{name} is not an exception class"
    what, close = f"there is no exception {name}", closest(name, known)
    if close is None:
        return advise(what, "write module.Class", "; ")
    return Message(f"{what}, did you mean {close}?", replacement=close)
