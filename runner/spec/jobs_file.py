"""From one file of ``jobs.d`` to its jobs and its problems."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from runner.model.hooks import JOB_NAME
from runner.model.job import DEFAULTS, IMPORT_PATH, JOB, JobSpec, check_job
from runner.model.option import INVALID, Path, Report, describe, did_you_mean
from runner.model.param import PARAMS, Param
from runner.model.schedule import SCHEDULES, Schedule
from runner.spec.document import Document
from runner.spec.merge import merge_options
from runner.spec.params import fits
from runner.spec.problem import Problem

_AS_DECLARED = json.JSONEncoder(separators=(",", ":"))
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_TOP = ("defaults", "jobs")
_TOP_ALIASES = {
    "job": "jobs",
    "tasks": "jobs",
    "default": "defaults",
    "steps": "jobs",
    "schedule": "jobs",
    "schedules": "jobs",
    "dags": "jobs",
    "beat_schedule": "jobs",
    "spec": "jobs",
}


class Entry(NamedTuple):
    """A sound job: its options as JSON in the order of the file, all defaults merged in, and where it stands."""

    name: str
    line: int
    digest: str
    options: str


@dataclass(slots=True)
class JobsFile:
    """What one file declares."""

    file: str
    entries: list[Entry] = field(default_factory=list)
    broken: list[tuple[str, int]] = field(default_factory=list)
    """Names, with their lines, that are declared but can not be used."""
    problems: list[Problem] = field(default_factory=list)


def read_jobs(document: Document, inherited: Mapping[str, Any]) -> JobsFile:
    """Check a document as a jobs file; ``inherited`` is ``defaults`` of ``runner.yaml``."""
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
        document.report((), f"expected a mapping with jobs:, got {describe(top)}; begin the file with a line jobs:")
        return
    for key in top:
        if key not in _TOP and not key.startswith("x-"):
            document.report((key,), _unknown_top(key, top[key]), on_key=True)
    defaults, usable = inherited, True
    if top.get("defaults") is not None:
        shared, usable = read_defaults(top["defaults"], document.report)
        defaults = merge_options(inherited, shared)
    jobs = top.get("jobs")
    if jobs is None:
        return
    if not isinstance(jobs, dict):
        example = "write a name, a colon, and its options indented below"
        document.report(("jobs",), f"expected a mapping of names to jobs, got {describe(jobs)}; {example}")
        return
    faulty, all_faulty = _faulty_jobs(document)
    for name, own in jobs.items():
        job = read_job(document.report, name, own, defaults)
        line = document.line_of(("jobs", name))
        if job is None or not usable or all_faulty or name in faulty:
            found.broken.append((name, line))
        else:
            found.entries.append(job._replace(line=line))


def _faulty_jobs(document: Document) -> tuple[set[str], bool]:
    """Return the jobs that a fault of reading lies in, and whether one may concern them all."""
    names = set()
    everywhere = False
    for path in document.faulty:
        if len(path) > 1 and path[0] == "jobs":
            names.add(str(path[1]))
        else:
            everywhere = True
    return names, everywhere


def _unknown_top(key: str, value: Any) -> str:
    if isinstance(value, dict) and ("task" in value or "retry" in value):
        return "a job stands under jobs:, indent it and write jobs: above"
    alias = _TOP_ALIASES.get(key)
    guess = f", did you mean {alias}?" if alias else did_you_mean(key, _TOP)
    return f"unknown key{guess or ', a jobs file has defaults, jobs and keys that begin with x-'}"


def read_defaults(own: Any, report: Report) -> tuple[dict[str, Any], bool]:
    """Return the sound part of a ``defaults:`` section, and whether that is all of it."""
    path: Path = ("defaults",)
    sound, complete = DEFAULTS.sound_part(own, path, report)
    params = own.get("params") if isinstance(own, Mapping) else None
    if not _defaults_fit(_sound_params(params), (*path, "params"), report):
        sound.pop("params", None)
        complete = False
    written = sound.get("schedule")
    if written is not None and not _schedule_fires(SCHEDULES.read(written, (), _ignore), written, path, report):
        sound.pop("schedule")
        complete = False
    return sound, complete


def read_job(report: Report, name: str, own: Any, defaults: Mapping[str, Any]) -> Entry | None:
    """Check one job; return it without its line, or None after its problems were reported."""
    path: Path = ("jobs", name)
    sound = JOB_NAME.read(name, path, _at_key(report)) is not INVALID
    if not isinstance(own, Mapping):
        task = own if isinstance(own, str) and IMPORT_PATH.read(own, (), _ignore) is not INVALID else "module:attribute"
        report(path, f"expected a mapping of options, got {describe(own)}, write {{task: {task}}}", on_key=own is None)
        return None
    options = merge_options(defaults, own) if defaults else own
    values, complete = JOB.read_fields(options, path, report)
    # What can be checked of a job with faults is checked, so that the next reading brings no new ones.
    params = values.get("params") or _sound_params(options.get("params"))
    sound &= _defaults_fit(params, (*path, "params"), report)
    if "schedule" in values:
        sound &= _schedule_fires(values["schedule"], options["schedule"], path, report)
    declared = values.get("params") or _named_params(options.get("params"))
    sound &= check_job(JobSpec(name=name, **{"task": "", **values, "params": declared}), path, report)
    if not complete or not sound:
        return None
    written = JOB.write_fields(values)
    # The order changes nothing that a job does, but people meet its params in the order in which they were declared.
    return Entry(name, 0, digest_of(_CANONICAL.encode(written)), _AS_DECLARED.encode(written))


def _at_key(report: Report) -> Report:
    def at_key(path: Path, message: str, *, on_key: bool = True) -> None:  # noqa: ARG001
        report(path, f"as a name, {message}", on_key=True)

    return at_key


def _sound_params(declared: Any) -> dict[str, Param]:
    """Return those of some params that are sound, if there are any."""
    found: dict[str, Param] = {}
    for name, schema in declared.items() if isinstance(declared, Mapping) else ():
        read = PARAMS.read({name: schema}, (), _ignore)
        if read is not INVALID:
            found.update(read)
    return found


def _named_params(declared: Any) -> dict[str, Param]:
    """Return all params that are declared, sound or not: what names one of them is right."""
    found = declared.items() if isinstance(declared, Mapping) else ()
    return {name: Param(name, {}) for name, schema in found if schema is not None}


def _ignore(path: Path, message: str, *, on_key: bool = False) -> None:
    pass


def _defaults_fit(params: Mapping[str, Param], path: Path, report: Report) -> bool:
    sound = True
    for name, param in params.items():
        if "default" in param.schema:
            fault = fits(param, param.default)
            if fault is not None:
                report((*path, name, "default"), f"does not fit the param's own schema: {fault}")
                sound = False
    return sound


def _schedule_fires(schedules: Sequence[Schedule], written: Any, path: Path, report: Report) -> bool:
    from runner.schedule.check import check_schedules  # start-up time: most commands read the cache

    return check_schedules(schedules, written, (*path, "schedule"), report)


def digest_of(options: str) -> str:
    """Return the digest of a job from its options as canonical JSON."""
    return "sha256:" + hashlib.sha256(options.encode()).hexdigest()


def build(entry: Entry, file: str) -> JobSpec:
    """Return the job of an entry.

    Raises:
        ValueError: the options are not those of a sound job.
    """

    def refuse(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise ValueError(message)

    values, _ = JOB.read_fields(json.loads(entry.options), (), refuse)
    return JobSpec(name=entry.name, digest=entry.digest, file=file, line=entry.line, **values)
