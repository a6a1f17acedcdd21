"""The catalog: the valid jobs of a project, and the problems of the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from runner._dataclass import dataclass
from runner.catalog.cache import Cache, CachedFile, entry_of, matches
from runner.catalog.calendars import Calendars
from runner.catalog.files import Found, Listing, find_files, open_file
from runner.catalog.jobs_file import Entry, build, read_defaults, read_jobs
from runner.catalog.steps import step_job, step_spec, step_specs
from runner.errors import InvalidSpec, NoProject, UnknownJob
from runner.host.regular import read_regular
from runner.host.trust import NAMED, Trust
from runner.model.job import JobSpec
from runner.model.option import Path as OptionPath
from runner.model.option import closest, did_you_mean
from runner.yaml_reader.document import Document, source_of
from runner.yaml_reader.problem import Problem, one_line, summary
from runner.yaml_reader.reader import MAX_BYTES, read_bytes

__all__ = ["Catalog", "Problem", "load_catalog", "load_files"]

MAX_JOBS = 100_000
_NAMED = re.compile(r'"calendar:([^"]*)"')


class Project(Protocol):
    """The settings that a catalog needs."""

    @property
    def project(self) -> Path: ...
    @property
    def jobs_dir(self) -> tuple[Path, ...]: ...
    @property
    def defaults(self) -> Mapping[str, Any]: ...
    @property
    def files(self) -> tuple[Path, ...]: ...


class Jobs(Mapping[str, JobSpec]):
    """The valid jobs by name. A job is built on demand, because most commands need one of thousands.

    The jobs of task steps can be looked up as ``FLOW/STEP``, but only declared jobs are listed.
    """

    def __init__(self, lines: dict[str, tuple[str, str]]) -> None:
        self._lines = lines
        self._built: dict[str, JobSpec] = {}
        self._step_digests: dict[str, str] | None = None

    def __getitem__(self, name: str) -> JobSpec:
        job = self._built.get(name)
        if job is None:
            flow, slash, step = name.partition("/")
            if slash:
                job = step_spec(self[flow], step)
            else:
                line, file = self._lines[name]
                job = build(entry_of(line), file)
            self._built[name] = job
        return job

    def with_option(self, option: str) -> Iterator[str]:
        """Yield the names of the jobs that have an option, without building any.

        For an option of steps, the names are those of the jobs of steps.
        """
        for name, (line, _) in self._lines.items():
            given = line.split("\t", 4)[3]
            if f",{option}," in given:
                yield name
            if f"/{option}," in given:
                yield from (
                    step_job(name, step)
                    for step, _, has in (entry.partition("/") for entry in given.split(","))
                    if has == option
                )

    def all(self) -> Iterator[JobSpec]:
        """Yield every job, and after a flow the jobs of its task steps."""
        for job in self.values():
            yield job
            yield from (self[step_job(job.name, name)] for name, step in job.steps.items() if step.task is not None)

    def flows(self) -> Iterator[str]:
        """Yield the names of the jobs with steps, without building any."""
        return self.with_option("steps")

    def digests(self) -> dict[str, str]:
        """Return the digests of all jobs and task steps by name."""
        found = {name: line.split("\t", 3)[2] for name, (line, _) in self._lines.items()}
        if self._step_digests is None:
            self._step_digests = {job.name: job.digest for name in self.flows() for job in step_specs(self[name])}
        return {**found, **self._step_digests} if self._step_digests else found

    def digest(self, name: str) -> str:
        """Return the digest of a job."""
        return self[name].digest if "/" in name else self._lines[name][0].split("\t", 3)[2]

    def entry(self, name: str) -> tuple[Entry, str]:
        """Return the entry that declares a job, and its file."""
        line, file = self._lines[name]
        return entry_of(line), file

    @property
    def lines(self) -> Mapping[str, tuple[str, str]]:
        """The jobs by name, as lines of the cache, with the files that declare them."""
        return self._lines

    def line(self, name: str) -> tuple[str, str]:
        """Return a job as a line of the cache, and the file that declares it."""
        return self._lines[name]

    def with_lines(self, lines: Mapping[str, tuple[str, str]]) -> Jobs:
        """Return these jobs with those of ``lines`` added or replaced."""
        return Jobs({**self._lines, **lines})

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        if name in self._lines or not isinstance(name, str) or "/" not in name:
            return name in self._lines
        flow, _, step = name.partition("/")
        return flow in self._lines and f",{step}/task," in self._lines[flow][0].split("\t", 4)[3]


@dataclass(frozen=True)
class Catalog:
    """The jobs of a project. ``problems`` are sorted by file and line; ``files`` is the number of files."""

    jobs: Jobs = field(default_factory=lambda: Jobs({}))
    problems: tuple[Problem, ...] = ()
    files: int = 0
    warnings: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The names of invalid jobs, and where they are declared: ``jobs.d/reports.yaml:12``."""
    misplaced: Jobs = field(default_factory=lambda: Jobs({}))
    """The invalid jobs whose only problem is a misplaced placeholder; empty if the cache was used."""
    read: Mapping[str, CachedFile] = field(default_factory=lambda: MappingProxyType({}), compare=False, repr=False)
    """The files as they were read, by path, for a live catalog."""
    calendars: Calendars = field(default_factory=Calendars, compare=False, repr=False)
    """The calendars that schedules name as ``calendar:NAME``; their files are read on demand."""

    def get(self, name: str) -> JobSpec:
        """Return a job by name.

        Raises:
            UnknownJob: there is no such job, or it is invalid. The hint suggests a similar name.
        """
        if name in self.jobs:
            return self.jobs[name]
        if name in self.broken:
            raise UnknownJob(
                f"job {name} is declared in {self.broken[name]}, but has problems",
                hint="runner validate lists them.",
            )
        flow = self.jobs.get(name.partition("/")[0]) if "/" in name else None
        if flow is not None:
            raise _unknown_step(name, flow)
        guess = did_you_mean(name, self.jobs)
        if guess:
            hint = guess.removeprefix(", ")[0].upper() + guess.removeprefix(", ")[1:]
        elif self.problems:
            hint = f"{summary(self.problems)}: runner validate lists them."
        elif self.jobs:
            hint = "runner jobs lists all jobs."
        else:
            hint = "No job is declared yet; add one to jobs.d, such as jobs: {hello: {task: package.module:function}}."
        raise UnknownJob(f"no job is named {name!r}", hint=hint)

    def same_as(self, other: Catalog) -> bool:
        """Return whether the files declare the same, without building any job."""
        mine, theirs = (
            (one.jobs.lines, one.problems, one.warnings, one.broken, one.calendars.fingerprint) for one in (self, other)
        )
        return mine == theirs

    def digests(self) -> dict[str, str]:
        """Return the digests of all jobs and task steps by name."""
        return self.jobs.digests()

    def scheduled(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the digest of each job with a schedule, without building it."""
        for name in self.jobs.with_option("schedule"):
            yield name, self.jobs.digest(name)

    def names_calendars(self, name: str) -> bool:
        """Return whether the schedule of a job may name a calendar, without building the job."""
        return '"calendar:' in self.jobs.line(name)[0]

    def with_secrets(self) -> Iterator[JobSpec]:
        """Yield the jobs that have secrets, without building the others."""
        yield from (self.jobs[name] for name in self.jobs.with_option("secrets"))

    def unsafe(self) -> Iterator[str]:
        """Yield the names of the jobs with ``unsafe: true``, without building any."""
        return self.jobs.with_option("unsafe")

    def all_problems(self) -> tuple[Problem, ...]:
        """Return all problems, also those of calendars, which are all read for this."""
        return tuple(sorted([*self.problems, *self.calendars.problems()]))

    def check(self) -> None:
        """Raise InvalidSpec with all problems in its message, if there are any."""
        if self.problems:
            lines = "\n".join(str(problem) for problem in self.problems)
            raise InvalidSpec(f"{lines}\n{summary(self.problems)}")


def _unknown_step(name: str, flow: JobSpec) -> UnknownJob:
    step = name.partition("/")[2]
    if step in flow.steps:
        ran = flow.steps[step].job
        return UnknownJob(
            f"step {step} of {flow.name} is {f'the job {ran}' if ran else 'an approval'}, not a task",
            hint=f"runner jobs {flow.name} shows its steps.",
        )
    close = closest(step, flow.steps)
    hint = f"Did you mean {flow.name}/{close}?" if close else f"runner jobs {flow.name} shows its steps."
    return UnknownJob(f"no job is named {name!r}", hint=hint)


def load_catalog(settings: Project, *, use_cache: bool = True) -> Catalog:
    """Read the jobs of a project, from the cache if their files did not change.

    Args:
        settings: the settings of the project.
        use_cache: whether to read and write the cache.

    Raises:
        NoProject: a folder of ``jobs_dir`` does not exist.
    """
    for folder in settings.jobs_dir:
        if not folder.exists():
            raise NoProject(
                f"the folder {folder} (jobs_dir) does not exist",
                hint="Create it, set jobs_dir in runner.yaml, or run: runner init",
            )
    trust, calendars = trust_of(settings), calendars_of(settings)
    listing = find_files(settings.jobs_dir, settings.project, trust)
    defaults, problems = check_defaults(settings.defaults, settings.files)
    if problems:
        listing.problems += problems
        return assemble(listing, _disabled(read_all(listing.files, defaults)), calendars)
    if not use_cache:
        return assemble(listing, read_all(listing.files, defaults), calendars)
    cache = Cache(settings.project, defaults, trust, getattr(settings, "state_dir", None))
    cached = cache.load()
    changed = [found for found in listing.files if not matches(cached.get(found.path), found)]
    if not changed and len(cached) == len(listing.files):
        return assemble(listing, cached, calendars)
    read = read_all(changed, defaults)
    current = {
        found.path: read.get(found.path) or cached[found.path]
        for found in listing.files
        if found.path in read or found.path in cached
    }
    cache.save(current)
    return assemble(listing, current, calendars)


def trust_of(settings: Project) -> Trust:
    """Return the users whose files are read in a project."""
    found: Trust = getattr(settings, "trust", NAMED)
    return found


def calendars_of(settings: Project) -> Calendars:
    """Return the calendars of a project. Their files are read when they are needed."""
    return Calendars(getattr(settings, "calendars", {}), settings.project, trust_of(settings), settings.files)


def load_files(
    paths: Iterable[Path | str],
    *,
    base: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
    settings_files: Sequence[Path] = (),
    trust: Trust = NAMED,
    calendars: Calendars | None = None,
) -> Catalog:
    """Read some files and folders, without the cache. A missing file is a problem of the catalog.

    Args:
        paths: folders, and files with any name.
        base: the folder to which file names in messages are relative; by default, the working folder.
        defaults: the defaults of ``runner.yaml``.
        settings_files: ``runner.yaml`` and the files merged over it, for the positions of problems in ``defaults``.
        trust: the users whose files are read.
        calendars: the calendars that schedules may name; None if they are not known.
    """
    listing = find_files([Path(path) for path in paths], base or Path.cwd(), trust)
    sound, problems = check_defaults(defaults or {}, settings_files)
    read = read_all(listing.files, sound)
    if problems:
        listing.problems += problems
        read = _disabled(read)
    return assemble(listing, read, calendars)


def check_defaults(defaults: Mapping[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the valid defaults of ``runner.yaml``, and the problems of the others with their positions."""
    faults: list[tuple[OptionPath, str, bool]] = []

    def collect(path: OptionPath, message: str, *, on_key: bool = False) -> None:
        faults.append((path, message, on_key))

    sound, _ = read_defaults(defaults, collect)
    if not faults:
        return sound, []
    # Only now, because positions need a second reading of the files.
    documents = [read_bytes(read_regular(file, MAX_BYTES), file.name) for file in files] or [Document("runner.yaml")]
    for path, message, on_key in faults:
        source_of(documents, path).report(path, message, on_key=on_key)
    return sound, [problem for document in documents for problem in document.problems]


def _disabled(read: dict[str, CachedFile]) -> dict[str, CachedFile]:
    """Return files with all jobs marked as invalid: without its defaults, a job is not what was meant."""
    for file in read.values():
        entries = [entry_of(line) for line in file.lines]
        file.broken = file.broken + [(entry.name, entry.line) for entry in entries]
        file.lines = []
    return read


def read_all(files: Iterable[Found], defaults: Mapping[str, Any]) -> dict[str, CachedFile]:
    """Read files, and return them by path, without those beyond the limit of jobs."""
    read: dict[str, CachedFile] = {}
    count = 0
    for found in files:
        document, signature = open_file(found)
        jobs = read_jobs(document, defaults)
        read[found.path] = CachedFile.of(jobs, signature)
        count += len(jobs.entries) + len(jobs.broken)
        if count > MAX_JOBS:
            break
    return read


def assemble(listing: Listing, read: Mapping[str, CachedFile], calendars: Calendars | None = None) -> Catalog:
    """Return the catalog of some files; without ``calendars``, schedules may name any."""
    lines: dict[str, tuple[str, str]] = {}
    broken: dict[str, str] = {}
    twice: dict[str, list[tuple[str, int]]] = {}
    problems = list(listing.problems)
    warnings = list(listing.warnings)
    for found in listing.files:
        file = read.get(found.path)
        if file is None:
            continue  # beyond the limit, which is reported below
        shown = found.shown
        problems += file.problems
        for line in file.lines:
            name = line[: line.index("\t")]
            if name in lines or name in broken:
                twice.setdefault(name, []).append((shown, entry_of(line).line))
            else:
                lines[name] = (line, shown)
        for name, at in file.broken:
            if name in lines or name in broken:
                twice.setdefault(name, []).append((shown, at))
            else:
                broken[name] = f"{shown}:{at}"
    for name, others in twice.items():
        if name in lines:
            line, shown = lines.pop(name)
            broken[name] = f"{shown}:{entry_of(line).line}"
        for shown, at in others:
            message = f"is also declared in {broken[name]}, which disables both; rename or remove one"
            problems.append(Problem(shown, at, 1, f"jobs.{one_line(name)}", message))
    problems += _check_references(listing, lines, broken, None if calendars is None else calendars.declared)
    misplaced = {
        line[: line.index("\t")]: (line, found.shown)
        for found in listing.files
        if (file := read.get(found.path)) is not None
        for line in file.misplaced
    }
    if len(lines) + len(broken) > MAX_JOBS:
        shown = listing.files[-1].shown
        problems.append(Problem(shown, 1, 1, "", f"more than {MAX_JOBS:,} jobs are declared, split the project"))
        lines = {}
    if not listing.files:
        warnings.append("there are no jobs: no file name ends in .yaml")
    elif not lines and not broken and not problems:
        warnings.append(f"{', '.join(sorted(found.shown for found in listing.files)[:3])}: no jobs are declared")
    return Catalog(
        Jobs(lines),
        tuple(sorted(problems)),
        len(listing.files),
        tuple(warnings),
        MappingProxyType(broken),
        Jobs(misplaced),
        MappingProxyType(dict(read)),
        calendars or Calendars(),
    )


class _Fault(Protocol):
    """A problem of ``job`` with the name of another job or of a calendar, at ``path`` below it."""

    @property
    def job(self) -> str: ...
    @property
    def path(self) -> OptionPath: ...
    @property
    def message(self) -> str: ...


def _check_references(
    listing: Listing,
    lines: dict[str, tuple[str, str]],
    broken: dict[str, str],
    calendars: Collection[str] | None,
) -> list[Problem]:
    """Return the problems of references between jobs, and remove the jobs that have them from ``lines``.

    References are hooks, requirements, jobs of steps, and ``calendars``, which are None if they are not known.
    """
    jobs, names = Jobs(lines), [*lines, *broken]
    faults: list[_Fault] = []
    hooked = {name: jobs[name] for name in jobs.with_option("hooks")}
    if any(job.hooks.names() for job in hooked.values()):
        from runner.catalog.hooks import check_hooks  # start-up time: most projects have no hooks

        faults += check_hooks(hooked, jobs.get, names)
    requiring = {name: jobs[name] for name in jobs.with_option("require")}
    if requiring:
        from runner.catalog.requirements import check_required  # start-up time: as with hooks

        faults += check_required(requiring, names)
    flows = {name: jobs[name] for name in jobs.flows()}
    if flows:
        from runner.catalog.subflows import check_subflows  # start-up time: as with hooks

        faults += check_subflows(flows, jobs.get, names)
    doubtful = () if calendars is None else [name for name, (line, _) in lines.items() if _names_other(line, calendars)]
    if calendars is not None and doubtful:
        from runner.catalog.unknown_calendars import unknown_calendars  # start-up time: few jobs have such a problem

        faults += (fault for name in doubtful for fault in unknown_calendars(jobs[name], calendars))
    problems: list[Problem] = []
    for shown in dict.fromkeys(lines[fault.job][1] for fault in faults):
        # Only now, because positions need another reading of the file.
        document, _ = open_file(next(found for found in listing.files if found.shown == shown))
        known = len(document.problems)
        for fault in faults:
            if lines[fault.job][1] == shown:
                at = ("jobs", fault.job, *_as_written(document, fault))
                document.report(at, fault.message, on_key=getattr(fault, "on_key", False), fits=True)
        # The other problems of the file are reported already.
        problems += document.problems[known:]
    for name in dict.fromkeys(fault.job for fault in faults):
        line, shown = lines.pop(name)
        broken[name] = f"{shown}:{entry_of(line).line}"
    return problems


def _as_written(document: Document, fault: _Fault) -> OptionPath:
    """Return the path of a fault in the file: the only schedule of a job may be in a list."""
    first, *rest = fault.path
    job = document.value["jobs"][fault.job]
    listed = first == "schedule" and isinstance(job, dict) and isinstance(job.get("schedule"), list)
    return ("schedule", 0, *rest) if listed and not isinstance(rest[0], int) else fault.path


def _names_other(line: str, calendars: Collection[str]) -> bool:
    """Return whether a job, as a line of the cache, may name a calendar other than these."""
    return '"calendar:' in line and any(name not in calendars for name in _NAMED.findall(line))
