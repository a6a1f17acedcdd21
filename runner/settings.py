"""``runner.yaml`` and ``RUNNER_*`` variables become ``Settings``. Each option is declared here once.

Discovery is in ``discovery.py``, the forms of ``redis_url`` in ``redis_url.py``, the rule of the variables in
``environment.py``, Celery's own settings in ``celery_settings.py``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner import environment
from runner.celery_settings import CelerySettings
from runner.discovery import JOBS_FOLDER, SETTINGS_FILE, find_project
from runner.errors import InvalidSettings, NoProject
from runner.model.job import IMPORT_PATH, QUEUE_NAME
from runner.model.option import Choice, Duration, Integer, ListOf, Report, Section, Size, Text, option
from runner.model.option import Path as OptionPath
from runner.redis_url import BadUrl, look_up
from runner.settings_kinds import Folders, JobDefaults, Timezone
from runner.spec.reader import MAX_BYTES, Document, read_bytes

NAMESPACE = Text(
    pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
    advice="use 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first and last",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsRetention:
    """The ``retention:`` section; ``result``, ``history`` and ``runs`` hold where a job says nothing. Seconds."""

    result: float = option(Duration(1.0), default=86400.0, help="How long a result is kept; the state stays.")
    history: float = option(Duration(1.0), default=30 * 86400.0, help="How long a finished run is kept.")
    runs: int = option(Integer(1, 1_000_000), default=1000, help="How many finished runs of each job are kept.")
    key: float = option(Duration(1.0), default=30 * 86400.0, help="How long an idempotency key is remembered.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The ``limits:`` section. Bytes."""

    params: int = option(Size(), default=64 * 1024, help="Largest params of a run, as JSON; larger ones are refused.")
    result: int = option(Size(), default=1024**2, help="Largest result of a run, as JSON; a larger one is a FAILURE.")
    traceback: int = option(Size(), default=32 * 1024, help="Longest traceback that is kept; the middle is cut out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The ``worker:`` section. Durations are seconds."""

    concurrency: int = option(Integer(1, 1024), default=4, help="How many runs a worker performs at a time.")
    queues: tuple[str, ...] = option(
        ListOf(QUEUE_NAME, unique=True),
        default=("default",),
        help="The queues that a worker takes runs from.",
        examples=(["default", "reports"],),
    )
    lease: float = option(
        Duration(1.0),
        default=15.0,
        help="How long a silent worker keeps its runs before others take them over; renewed every third of it.",
    )
    shutdown_grace: float = option(
        Duration(), default=30.0, help="How long running jobs may go on after a worker was asked to stop."
    )
    remote_control: str = option(
        Choice(("safe", "full")),
        default="safe",
        help="safe: Celery's remote control only looks; full: all of its commands.",
    )


def _check_worker(worker: WorkerSettings, path: OptionPath, report: Report) -> bool:
    if not worker.queues:
        report((*path, "queues"), "is empty, name at least one queue, such as [default]")
        return False
    return True


_RETENTION = SettingsRetention()
_LIMITS = Limits()
_WORKER = WorkerSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a project says of itself, all defaults in. All paths are absolute."""

    project: Path
    """The project's folder."""
    file: Path | None = None
    """Its ``runner.yaml``, if there is one."""
    embedded_allowed: bool = True
    """False with ``RUNNER_EMBEDDED=0``."""
    warnings: tuple[str, ...] = ()
    """What deserves a word, but stops nothing."""

    redis_url: str = option(
        Text(min_length=1),
        default="embedded",
        help="Where ledger and queues are: embedded (a private server in .runner/), a URL, env:NAME or file:PATH.",
        examples=("embedded", "redis://localhost:6379/0", "env:REDIS_URL", "file:/run/secrets/redis_url"),
    )
    namespace: str = option(
        NAMESPACE,
        default="runner",
        help="Prefix of every key, queue and control channel: projects with different ones share a Redis.",
    )
    jobs_dir: tuple[Path, ...] = option(
        Folders(one=True), default=(Path(JOBS_FOLDER),), help="The folder of job files, or a list of folders."
    )
    defaults: Mapping[str, Any] = option(
        JobDefaults(),
        default={},
        help="Job options for all jobs; a file's defaults and a job's own options come first.",
        examples=({"queue": "reports"},),
    )
    python_path: tuple[Path, ...] = option(
        Folders(), default=(Path(),), help="Folders to import jobs from, prepended to sys.path."
    )
    setup: str | None = option(
        IMPORT_PATH,
        default=None,
        help="Called in each worker process before a job is imported.",
        examples=("project.boot:setup",),
    )
    timezone: str = option(
        Timezone(), default="UTC", help="The zone of times without an offset.", examples=("Europe/Berlin",)
    )
    retention: SettingsRetention = option(
        Section(SettingsRetention, {"results": "result", "keep": "history", "max_runs": "runs", "keys": "key"}),
        default=_RETENTION,
        help="How long what is known of a run is kept, where the job does not say.",
    )
    limits: Limits = option(Section(Limits), default=_LIMITS, help="How large parts of a run's record may be.")
    worker: WorkerSettings = option(
        Section(
            WorkerSettings,
            {"worker_concurrency": "concurrency", "processes": "concurrency", "timeout": "shutdown_grace"},
            _check_worker,
        ),
        default=_WORKER,
        help="What runner worker does without options.",
    )
    celery: Mapping[str, Any] = option(
        CelerySettings(),
        default={},
        help="Any lower-case Celery setting, passed through; those that the runner owns are refused.",
        examples=({"worker_max_tasks_per_child": 100},),
    )

    def __post_init__(self) -> None:
        for name in ("jobs_dir", "python_path"):
            folders = tuple(Path(os.path.normpath(self.project / folder)) for folder in getattr(self, name))
            object.__setattr__(self, name, folders)

    @property
    def state_dir(self) -> Path:
        """The folder ``.runner`` of the project: what the runner keeps on this host. It may not exist yet."""
        return self.project / ".runner"


_LATER = "(it is not in this version)"
SETTINGS = Section(
    Settings,
    {
        "broker_url": _LATER,
        "durability": _LATER,
        "schedules": _LATER,
        "broker": "redis_url",
        "redis": "redis_url",
        "result_backend": "redis_url",
        "url": "redis_url",
        "prefix": "namespace",
        "jobs": "(jobs are declared in files of jobs_dir)",
        "pythonpath": "python_path",
        "tz": "timezone",
        "concurrency": "worker.concurrency",
        "queues": "worker.queues",
    },
)
"""The whole of ``runner.yaml``. Keys that begin with ``x-`` are ignored, so that they can hold anchors."""


def load_settings(
    project: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """Return the settings of the project: ``runner.yaml``, with the variables over it.

    Args:
        project: its folder; None searches as :func:`runner.discovery.find_project` says.
        environ: where ``RUNNER_*`` variables and those of ``env:NAME`` are.
        cwd: where to search from; None is the working folder.

    Raises:
        NoProject: there is no project, or its ``jobs_dir`` is missing.
        InvalidSettings: with all that is wrong, one line each.
    """
    folder = find_project(project, environ, cwd or Path.cwd())
    file = folder / SETTINGS_FILE
    document = read_file(file) if file.exists() else Document(SETTINGS_FILE)
    reading = _Reading(document, environ)
    values = reading.values() if document.readable else {}
    if not reading.sound:
        raise InvalidSettings("\n".join(reading.complaints()), hint=reading.hint(folder))
    settings = Settings(
        project=folder,
        file=file if file.exists() else None,
        embedded_allowed=reading.embedded_allowed(),
        warnings=tuple(environment.unknown(environ, reading.variables)),
        **values,
    )
    return _look_around(settings, reading)


def read_file(file: Path) -> Document:
    """Return a ``runner.yaml`` as the strict reader sees it, to tell where a value stands.

    Raises:
        InvalidSettings: it can not be read, or anybody could have written it.
    """
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_mode & stat.S_IWOTH:
                raise InvalidSettings(
                    f"{file} can be written by anybody, and it decides what code runs", hint=f"chmod o-w {file}"
                )
            return read_bytes(opened.read(MAX_BYTES + 1), file.name)
    except OSError as error:
        raise InvalidSettings(f"{file} can not be read: {error.strerror}", hint="check its owner and mode") from error


class _Reading:
    """One reading of a document with the variables over it; gathers what is wrong in both."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document = document
        self.environ = environ
        self.wrong_variables: list[str] = []
        self._from_variable: dict[tuple[str, ...], str] = {}
        known = list(environment.variables(Settings))
        self.variables = frozenset(name for name, _, _ in known)
        self._set = [each for each in known if each[0] in environ]

    @property
    def sound(self) -> bool:
        return not self.document.problems and not self.wrong_variables

    def values(self) -> dict[str, Any]:
        """Return the fields of ``Settings`` that file and variables set."""
        given = self.document.value
        if given is None:
            given = {}
        if not isinstance(given, dict):
            self.report((), "expected options such as redis_url: embedded")
            return {}
        given = {key: value for key, value in given.items() if not key.startswith("x-")}
        self._apply_variables(given)
        values, _ = SETTINGS.read_fields(given, (), self.report)
        return values

    def _apply_variables(self, given: dict[str, Any]) -> None:
        for name in sorted(environment.LATER & self.environ.keys()):
            self.wrong_variables.append(f"{name}: is not supported in this version, unset it")
        for name, path, kind in self._set:
            text = self.environ[name]
            if not text.strip():
                self.wrong_variables.append(f"{name}: is set but empty, unset it or write a value")
                continue
            *sections, last = path
            holder: Any = given
            for section in sections:
                # A copy: an anchor may have put the same mapping in two places.
                holder[section] = dict(holder[section]) if isinstance(holder.get(section), dict) else {}
                holder = holder[section]
            holder[last] = environment.plain_value(text.strip(), kind)
            self._from_variable[path] = name

    def report(self, path: OptionPath, message: str, *, on_key: bool = False) -> None:
        """Take one problem, for the file or for the variable that gave the value."""
        for length in range(len(path), 0, -1):
            name = self._from_variable.get(path[:length])  # type: ignore[arg-type]
            if name is not None:
                self.wrong_variables.append(f"{name}: {message}")
                return
        if not any(path[: len(faulty)] == faulty for faulty in self.document.faulty):
            self.document.report(path, message, on_key=on_key)

    def embedded_allowed(self) -> bool:
        """Return what ``RUNNER_EMBEDDED`` says."""
        text = self.environ.get("RUNNER_EMBEDDED", "1")
        if text not in ("0", "1"):
            raise InvalidSettings(
                f"RUNNER_EMBEDDED: {text!r} is not 0 or 1", hint="0 forbids the embedded server; unset it to allow it"
            )
        return text == "1"

    def complaints(self) -> list[str]:
        """Return all that is wrong, one line each."""
        return [*map(str, sorted(self.document.problems)), *self.wrong_variables]

    def hint(self, folder: Path) -> str:
        """Return where to correct it."""
        places = [str(folder / self.document.file)] if self.document.problems else []
        places += ["the environment"] if self.wrong_variables else []
        return f"correct {' and '.join(places)}; runner schema runner prints all options"


def _look_around(settings: Settings, reading: _Reading) -> Settings:
    """Return ``settings`` with ``redis_url`` looked up, once what they name is there and sound."""
    missing = [folder for folder in settings.jobs_dir if not folder.is_dir()]
    for index, folder in enumerate(settings.jobs_dir):
        if folder.exists() and not folder.is_dir():
            reading.report(("jobs_dir", index), f"{folder} is not a folder")
    for index, folder in enumerate(settings.python_path):
        _check_python_folder(folder, ("python_path", index), reading)
    try:
        url = look_up(settings.redis_url, settings.project, reading.environ)
    except BadUrl as bad:
        url = ""
        reading.report(("redis_url",), str(bad))
    if not reading.sound:
        raise InvalidSettings("\n".join(reading.complaints()), hint=reading.hint(settings.project))
    if missing:
        raise NoProject(
            f"jobs_dir: there is no folder {missing[0]}",
            hint=f"mkdir {missing[0]}, or runner init makes a project with example jobs",
        )
    return replace(settings, redis_url=url)


def _check_python_folder(folder: Path, path: OptionPath, reading: _Reading) -> None:
    if not folder.is_dir():
        reading.report(path, f"there is no folder {folder}")
    for name in ("celery.py", "runner.py"):
        if (folder / name).exists():
            reading.report(
                path, f"{folder / name} would hide the package {name[:-3]} that the runner needs, rename the file"
            )
