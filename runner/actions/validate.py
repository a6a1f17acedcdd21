"""Check jobs files, or the whole project, and the code that jobs run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from runner._dataclass import dataclass
from runner.app.env_file import Malformed, read_env_file
from runner.app.secret_sources import MissingSecret
from runner.authoring.advice import advice_for
from runner.authoring.code_check import IMPORT_SECONDS, Finding, SetupFailed, check_code
from runner.authoring.schema import JOBS_FILE, RUNNER_FILE, as_text, jobs_schema, runner_schema
from runner.authoring.signature import Fault, faults_of
from runner.catalog.catalog import Catalog, calendars_of, load_catalog, load_files
from runner.catalog.files import Found, open_file
from runner.catalog.steps import path_of
from runner.errors import InvalidSettings, NoProject, UsageError
from runner.host.regular import read_regular
from runner.host.trust import NAMED
from runner.model.job import JobSpec
from runner.settings import Settings, load_settings
from runner.yaml_reader.problem import Problem

STOCK_TASKS = "runner.tasks."
SCHEMA_FOLDER = "schema"
LARGEST_SCHEMA = 16 * 1024**2
"""Bytes that are read of a copy of a schema."""


@dataclass(frozen=True)
class Verdict:
    """The result of a check. File names in problems are relative to ``base``."""

    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    jobs: int
    files: int
    base: Path

    @property
    def sound(self) -> bool:
        """Whether there is nothing but warnings."""
        return all(problem.severity == "warning" for problem in self.problems)


def validate(
    paths: Sequence[str] = (),
    project: str | None = None,
    *,
    imports: bool = False,
    import_seconds: float = IMPORT_SECONDS,
) -> Verdict:
    """Check the whole project, or the named files and folders under the ``defaults`` of the project.

    Args:
        paths: files and folders; what cannot be read is a problem.
        project: its folder; found from the first of ``paths`` or the working folder by default. Without ``paths``
            there must be one.
        imports: also import what jobs name, in processes of its own, and compare it with what they give.
        import_seconds: how long the import of one module may take.

    Problems of ``runner.yaml`` are reported alone, because all other checks depend on it.

    Raises:
        NoProject: there is none, or ``project`` is none.
        InvalidSettings: a variable is wrong, or ``runner.yaml`` cannot be read.
        SetupFailed: with ``imports``, ``setup`` of the project fails.
    """
    try:
        settings = _settings(paths, project)
    except InvalidSettings as error:
        if not error.problems or error.folder is None:
            raise
        files = len({problem.file for problem in error.problems})
        return Verdict(error.problems, (), 0, files, error.folder)
    if not paths:
        assert settings is not None
        catalog, base = load_catalog(settings, use_cache=False), settings.project
    else:
        base = Path.cwd()
        catalog = load_files(
            [Path(path) for path in paths],
            defaults=settings.defaults if settings else {},
            settings_files=settings.files if settings else (),
            trust=settings.trust if settings else NAMED,
            calendars=calendars_of(settings) if settings else None,
        )
    # Jobs with a misplaced placeholder too, so that all problems are reported at once.
    jobs = [*catalog.jobs.all(), *catalog.misplaced.all()]
    findings = _advice(jobs, settings)
    if imports:
        if settings is None:
            raise UsageError(
                "there is no project, so it is not known where modules are", hint="name it with --project DIR"
            )
        findings += check_code(settings, jobs, import_seconds)
    problems = sorted([*(catalog.problems if paths else catalog.all_problems()), *_located(findings, catalog, base)])
    warnings = [*catalog.warnings, *(stale_schemas(settings) if settings else ())]
    return Verdict(tuple(problems), tuple(warnings), len(catalog.jobs), catalog.files, base)


def advice_on(catalog: Catalog, settings: Settings, base: Path, texts: Mapping[str, bytes]) -> list[Problem]:
    """Return warnings about jobs that are declared correctly, and wrong options of stock tasks.

    Args:
        catalog: the jobs.
        settings: those of their project.
        base: the folder that names of files are relative to.
        texts: the content of files that is not on the disk; only the jobs of these files are looked at.
    """
    jobs = [job for job in (*catalog.jobs.all(), *catalog.misplaced.all()) if job.file in texts]
    return _located(_advice(jobs, settings), catalog, base, texts)


def _advice(jobs: Sequence[JobSpec], settings: Settings | None) -> list[Finding]:
    findings = [*_stock_findings(jobs), *((job.name, advice) for job in jobs for advice in advice_for(job))]
    if settings is not None:
        findings += _faulty_env_files(settings, jobs)
    return findings


def _settings(paths: Sequence[str], project: str | None) -> Settings | None:
    if not paths:
        return load_settings(project)
    first = Path(paths[0]).absolute()
    named = project is not None or "RUNNER_PROJECT" in os.environ
    try:
        return load_settings(project, cwd=None if named else first if first.is_dir() else first.parent)
    except NoProject:
        if project is not None:
            raise
        return None


def _stock_findings(jobs: Iterable[JobSpec]) -> Iterator[Finding]:
    """Yield the faults in names and options of stock tasks. Their code is ours, so no process of its own is needed."""
    for job in jobs:
        module, _, name = job.import_path.replace(":", ".").rpartition(".")
        if not f"{module}.".startswith(STOCK_TASKS):
            continue
        try:
            target = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            target = None
        if not callable(target):
            from runner.authoring.inspection import task_fault  # start-up time: few files have such a mistake

            if (found := task_fault(job)) is not None:
                yield job.name, found
            continue
        for fault in faults_of(job, target):
            yield job.name, fault


def _faulty_env_files(settings: Settings, jobs: Iterable[JobSpec]) -> Iterator[Finding]:
    """Yield the faults in env files on this host; others may exist only on the hosts of workers."""
    for job in jobs:
        if job.env_file is not None:
            try:
                read_env_file(job, settings.project, settings.trust)
            except Malformed as fault:
                yield job.name, Fault(("env_file",), str(fault).removeprefix("env_file: "), False, "warning")
            except MissingSecret:
                continue


def _located(
    findings: Iterable[Finding], catalog: Catalog, base: Path, texts: Mapping[str, bytes] = MappingProxyType({})
) -> list[Problem]:
    """Return findings as problems, each where it stands in its file, or in the text that ``texts`` has for it."""
    by_file: dict[str, list[Finding]] = {}
    for finding in dict.fromkeys(findings):
        name = finding[0].partition("/")[0]
        job = catalog.jobs.get(name) or catalog.misplaced[name]
        by_file.setdefault(job.file, []).append(finding)
    problems: list[Problem] = []
    for file, found in by_file.items():
        document = open_file(Found(str(base / file), file, [], data=texts.get(file)))[0]
        for name, fault in found:
            document.report(
                (*path_of(name), *fault.path),
                fault.message,
                on_key=fault.on_key,
                severity=fault.severity,
                from_code=True,
            )
        # What else is wrong with the file the catalog has told.
        problems += [problem for problem in document.problems if problem.from_code]
    return problems


def stale_schemas(settings: Settings) -> Iterator[str]:
    """Yield a warning for each copy of a schema that is not of this version; what is not there is not missed."""
    for file, schema in ((JOBS_FILE, jobs_schema), (RUNNER_FILE, runner_schema)):
        copy = settings.project / SCHEMA_FOLDER / file
        try:
            text = read_regular(copy, LARGEST_SCHEMA).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if text != as_text(schema()):
            which = file.partition(".")[0]
            yield (
                f"{SCHEMA_FOLDER}/{file} is of another version, so editors suggest the wrong options; "
                f"run: runner schema {which} > {copy}"
            )


__all__ = ["IMPORT_SECONDS", "SetupFailed", "Verdict", "stale_schemas", "validate"]
