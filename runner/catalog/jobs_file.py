"""Read the jobs and the problems of one file of ``jobs.d``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from runner.catalog.digest import digest_of
from runner.catalog.step_defaults import SHARED, inherited_by, merge_into_steps
from runner.catalog.steps import step_spec
from runner.model.foreign_names import FOREIGN_TOP_NAMES
from runner.model.hooks import JOB_NAME
from runner.model.job import DEFAULTS, JOB, JobSpec, check_job
from runner.model.message import Message, advise, as_message, suggest
from runner.model.nested_option import runs_command
from runner.model.option import INVALID, Path, Report, closest, describe, ignore, known_options
from runner.model.param import PARAMS, Param
from runner.model.schedule import SCHEDULES, Schedule
from runner.model.step import STEP
from runner.model.task_options import IMPORT_PATH
from runner.params.check import fits
from runner.yaml_reader.document import Document
from runner.yaml_reader.merge import merge_options
from runner.yaml_reader.problem import Problem

_AS_DECLARED = json.JSONEncoder(separators=(",", ":"))
_TOP = ("defaults", "jobs")


class Entry(NamedTuple):
    """A valid job: its options as JSON in the order of the file, defaults included, and its position."""

    name: str
    line: int
    digest: str
    given: str
    """An index: the names of its options, each between commas, so that a search need not parse all jobs.

    For a flow: without the options that its steps share, and with ``STEP/OPTION`` for each option of a step.
    """
    options: str


@dataclass(slots=True)
class JobsFile:
    """The content of one job file."""

    file: str
    entries: list[Entry] = field(default_factory=list)
    broken: list[tuple[str, int]] = field(default_factory=list)
    """The names of jobs that are declared but invalid, with their lines."""
    misplaced: list[Entry] = field(default_factory=list)
    """The invalid jobs whose only problem is a misplaced placeholder."""
    problems: list[Problem] = field(default_factory=list)


def read_jobs(document: Document, inherited: Mapping[str, Any]) -> JobsFile:
    """Check a document as a jobs file; ``inherited`` are the defaults of ``runner.yaml``."""
    found = JobsFile(document.file)
    if document.readable:
        _read_top(document, inherited, found)
    found.problems = sorted(document.problems)
    return found


def _read_top(document: Document, inherited: Mapping[str, Any], found: JobsFile) -> None:
    top = document.value
    if top is None:
        return
    if not isinstance(top, dict):
        document.report((), advise(f"expected a mapping with jobs:, got {describe(top)}", "begin the file with jobs:"))
        return
    for key in top:
        if key not in _TOP and not key.startswith("x-"):
            document.report((key,), _unknown_top(key, top), on_key=True)
    defaults, usable = inherited, True
    if top.get("defaults") is not None:
        shared, usable = read_defaults(top["defaults"], document.report, inherited)
        defaults = merge_options(inherited, shared)
    jobs = top.get("jobs")
    if jobs is None:
        return
    if not isinstance(jobs, dict):
        what = f"expected a mapping of names to jobs, got {describe(jobs)}"
        document.report(("jobs",), advise(what, "write a name, a colon, and the options indented below", "; "))
        return
    faulty, all_faulty = _faulty_jobs(document)
    for name, own in jobs.items():
        job, placed = read_job(document.report, name, own, defaults)
        line = document.line_of(("jobs", name))
        if job is None or not placed or not usable or all_faulty or name in faulty:
            found.broken.append((name, line))
            if job is not None and not placed:
                found.misplaced.append(job._replace(line=line))
        else:
            found.entries.append(job._replace(line=line))


def _faulty_jobs(document: Document) -> tuple[set[str], bool]:
    """Return the jobs with an error in their YAML, and whether an error may concern all jobs."""
    names = set()
    everywhere = False
    for path in document.faulty:
        if len(path) > 1 and path[0] == "jobs":
            names.add(str(path[1]))
        else:
            everywhere = True
    return names, everywhere


def _unknown_top(key: str, top: Mapping[str, Any]) -> str:
    value = top[key]
    if isinstance(value, dict) and ("task" in value or "retry" in value):
        return advise("a job must be below jobs:", "write jobs: above, and indent the job")
    alias = FOREIGN_TOP_NAMES.get(key)
    if alias is None and key in known_options(JobSpec):
        what = "an option must be below the name of its job, or under defaults for all jobs of the file"
        return advise(what, "indent it there", "; ")
    if isinstance(alias, Message):
        return alias.after("unknown key ")
    meant = alias or closest(key, _TOP)
    if meant is None:
        return advise("unknown key", "use jobs, defaults, or a name that begins with x-")
    fits = meant in _TOP and meant not in top and (value is None or isinstance(value, Mapping))
    return suggest("unknown key", meant, replacement=meant if fits else "")


def read_defaults(
    own: Any, report: Report, inherited: Mapping[str, Any] = MappingProxyType({})
) -> tuple[dict[str, Any], bool]:
    """Return the valid options of a ``defaults:`` section, and whether all of them are valid.

    Args:
        own: the section.
        report: records the problems.
        inherited: the defaults of ``runner.yaml``, over which it is merged.
    """
    path: Path = ("defaults",)
    checked = own
    if isinstance(own, Mapping):
        # A null is checked after merging: it has reset something, or it is wrong.
        merged = {key: own[key] for key in ("params", "secrets") if isinstance(own.get(key), Mapping)}
        merged = merge_options({key: inherited.get(key, {}) for key in merged}, merged)
        checked = {**own, **merged}
    sound, complete = DEFAULTS.sound_part(checked, path, report)
    sound = {key: own[key] for key in sound}
    params = checked.get("params") if isinstance(checked, Mapping) else None
    if not _defaults_fit(_sound_params(params), (*path, "params"), report):
        sound.pop("params", None)
        complete = False
    written = sound.get("schedule")
    if written is not None and not _schedule_fires(SCHEDULES.read(written, (), ignore), written, path, report):
        sound.pop("schedule")
        complete = False
    return sound, complete


def read_job(report: Report, name: str, own: Any, defaults: Mapping[str, Any]) -> tuple[Entry | None, bool]:
    """Check one job, and report its problems.

    Returns:
        The job without its line, or None if an option is invalid, and whether all placeholders are allowed where they
        are.
    """
    path: Path = ("jobs", name)
    sound = JOB_NAME.read(name, path, _at_key(report)) is not INVALID
    if not isinstance(own, Mapping):
        report(path, _no_mapping(name, own), on_key=own is None or name in known_options(JobSpec))
        return None, True
    options = merge_into_steps(merge_options(inherited_by(own, defaults), own) if defaults else own)
    values, complete = JOB.read_fields(options, path, report)
    # As much as possible is checked of an invalid job, so that correcting it brings up no new problems.
    params = values.get("params") or _sound_params(options.get("params"))
    sound &= _defaults_fit(params, (*path, "params"), report)
    if "schedule" in values:
        sound &= _schedule_fires(values["schedule"], options["schedule"], path, report)
    declared = values.get("params") or _named_params(options.get("params"))
    if "schedule" in values and sound:
        sound &= _schedule_gives(declared, values["schedule"], options["schedule"], path, report)
    # An invalid task is not a missing one, and neither are invalid steps.
    absent = {} if options.get("task") is None and options.get("steps") is None else {"task": ""}
    if "steps" in values:
        absent = {}
    if runs_command(options, JOB.aliases) or any(JOB.aliases.get(key) == "task" for key in options):
        absent = {"task": ""}  # the message about that key says to write task
    job = JobSpec(name=name, **{**absent, **values, "params": declared})
    sound &= check_job(job, path, report)
    if isinstance(options.get("steps"), Mapping):
        sound &= _steps_fit(options, declared, (*path, "steps"), report)
    # It is not known which values invalid params allow.
    placed = ("params" not in values and bool(declared)) or _report_misplaced(job, path, report)
    if not complete or not sound:
        return None, placed
    return entry_for(name, values), placed


def _no_mapping(name: str, own: Any) -> Message:
    """Return the message about a job that is not a mapping of options."""
    if name in known_options(JobSpec):
        what = "is an option of a job, and no job"
        return advise(what, "indent it below the name of its job")
    what = f"expected a mapping of options, got {describe(own)}"
    if isinstance(own, str) and IMPORT_PATH.read(own, (), ignore) is not INVALID:
        return advise(what, f"write {{task: {own}}}", replacement=f"{{task: {own}}}")
    return advise(what, "write {task: module:attribute}")


def _at_key(report: Report) -> Report:
    def at_key(path: Path, message: str, *, on_key: bool = True) -> None:  # noqa: ARG001
        report(path, as_message(message).after("as a name, "), on_key=True)

    return at_key


def _sound_params(declared: Any) -> dict[str, Param]:
    """Return the valid ones of some params."""
    found: dict[str, Param] = {}
    for name, schema in declared.items() if isinstance(declared, Mapping) else ():
        read = PARAMS.read({name: schema}, (), ignore)
        if read is not INVALID:
            found.update(read)
    return found


def _named_params(declared: Any) -> dict[str, Param]:
    """Return all declared params, also the invalid ones: a reference to any of them is correct."""
    found = declared.items() if isinstance(declared, Mapping) else ()
    return {name: Param(name, {}) for name, schema in found if schema is not None}


def _defaults_fit(params: Mapping[str, Param], path: Path, report: Report) -> bool:
    sound = True
    for name, param in params.items():
        if "default" in param.schema:
            fault = fits(param, param.default)
            if fault is not None:
                what = f"is not valid for the param's own schema: {fault}"
                report((*path, name, "default"), advise(what, "correct the default or the schema", "; "))
                sound = False
    return sound


def _schedule_fires(schedules: Sequence[Schedule], written: Any, path: Path, report: Report) -> bool:
    from runner.schedule.check import check_schedules  # start-up time: most commands read the cache

    return check_schedules(schedules, written, (*path, "schedule"), report)


def _schedule_gives(
    declared: Mapping[str, Param], schedules: Sequence[Schedule], written: Any, path: Path, report: Report
) -> bool:
    from runner.catalog.schedule_params import check_schedule_params  # start-up time: most commands read the cache

    return check_schedule_params(declared, schedules, written, (*path, "schedule"), report)


def _report_misplaced(job: JobSpec, path: Path, report: Report) -> bool:
    from runner.params.placement import misplaced, report_misplaced  # start-up time: as above

    placed = report_misplaced(job, path, report)
    for step in job.steps:
        if job.steps[step].task is not None:
            for found in misplaced(step_spec(job, step)):
                placed = False
                option, name = found.path[0], found.path[-1]
                if option != "env" or job.env.get(str(name)) != job.steps[step].env[str(name)]:
                    # A variable that all steps share is reported once, for the job.
                    report((*path, "steps", step, *found.path), found.message)
    return placed


def _steps_fit(options: Mapping[str, Any], params: Mapping[str, Param], path: Path, report: Report) -> bool:
    from runner.catalog.graph import check_graph  # start-up time: most commands read the cache

    read = {name: STEP.read(step, (), ignore) for name, step in options["steps"].items()}
    sound = {name: step for name, step in read.items() if step is not INVALID}
    stops = options.get("on_failure") == "stop"
    return check_graph(sound, read, params, path, report, stops=stops)


def entry_for(name: str, values: Mapping[str, Any], line: int = 0) -> Entry:
    """Return the entry of a job from the fields of :class:`JobSpec` that it sets."""
    written = JOB.write_fields(values)
    given = "," + "".join(f"{option}," for option in _given(written))
    # The order does not matter to the job, but people see its params in the order in which they were declared.
    return Entry(name, line, digest_of(written), given, _AS_DECLARED.encode(written))


def _given(written: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of a job, and ``STEP/OPTION`` for those of its steps, which include the shared ones."""
    steps = written.get("steps")
    if steps is None:
        yield from written
        return
    yield from (option for option in written if option not in SHARED)
    for name, step in steps.items():
        yield from (f"{name}/{option}" for option in step)


def build(entry: Entry, file: str) -> JobSpec:
    """Return the job of an entry.

    Raises:
        ValueError: the options are not those of a valid job.
    """

    def refuse(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise ValueError(message)

    values, _ = JOB.read_fields(json.loads(entry.options), (), refuse)
    return JobSpec(name=entry.name, digest=entry.digest, file=file, line=entry.line, **values)
