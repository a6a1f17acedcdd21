"""The options of ``runner.yaml``, each declared once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner._dataclass import dataclass
from runner.host.trust import Trust
from runner.model.foreign_names import FOREIGN_SETTING_NAMES
from runner.model.job import JobSpec
from runner.model.message import advise, hint
from runner.model.option import (
    Choice,
    Duration,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Report,
    Section,
    Size,
    Text,
    option,
    options_of,
)
from runner.model.option import Path as OptionPath
from runner.model.queue_name import QUEUE_NAME
from runner.model.slot_rule import CalendarSources
from runner.model.task_options import IMPORT_PATH, MEMORY
from runner.model.timezone import Timezone
from runner.settings.celery_settings import CelerySettings
from runner.settings.discovery import JOBS_FOLDER
from runner.settings.option_types import Folders, JobDefaults, OneFolder

STATE_FOLDER = ".runner"

NAMESPACE = Text(
    pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$",
    advice="use 1 to 64 letters, digits, dots, dashes, or underscores, a letter or digit first and last",
    is_name=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsRetention:
    """The ``retention:`` section; ``key`` aside, each holds where a job says nothing. Seconds."""

    result: float = option(Duration(1.0), default=86400.0, help="How long a result is kept. The state is kept longer.")
    history: float = option(Duration(1.0), default=30 * 86400.0, help="How long a finished run is kept.")
    runs: int = option(Integer(1, 1_000_000), default=1000, help="How many finished runs of each job are kept.")
    keep_at_least: float = option(
        Duration(),
        default=3600.0,
        help="How long a finished run is kept even if there are more than runs; history still applies.",
    )
    key: float = option(Duration(1.0), default=30 * 86400.0, help="How long an idempotency key is remembered.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The ``limits:`` section. Bytes."""

    params: int = option(
        Size(), default=64 * 1024, help="The largest params of a run, as JSON; larger params are refused."
    )
    result: int = option(
        Size(), default=1024**2, help="The largest result of a run, as JSON; with a larger one, the run fails."
    )
    traceback: int = option(
        Size(), default=32 * 1024, help="The longest traceback that is kept; a longer one loses its beginning."
    )
    log: int = option(
        Size(1024),
        default=1024**2,
        help="How much of an attempt's log is kept: half from its beginning, half from its end.",
    )
    log_lines: int = option(Integer(2, 1_000_000), default=10_000, help="How many lines of an attempt's log are kept.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recycle:
    """The ``worker.recycle:`` section: when a process of the pool is replaced, between two runs."""

    runs: int | None = option(
        Integer(1, 1_000_000_000),
        default=None,
        help="How many runs a process of the pool performs before it is replaced.",
        examples=(1000,),
    )
    memory: int | None = option(
        MEMORY,
        default=None,
        help="A process of the pool that uses more memory than this after a run is replaced.",
        examples=("300MiB",),
    )


_RECYCLE = Recycle()


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
        help="How long a silent worker keeps its runs before others take them over. Leases are renewed every third of "
        "it.",
    )
    shutdown_grace: float = option(
        Duration(), default=30.0, help="How long running jobs may go on after a worker is asked to stop."
    )
    remote_control: str = option(
        Choice(("safe", "full", "none")),
        default="safe",
        help="Which commands of Celery's remote control work. safe: those that read, and revoke; full: all; none: no "
        "command.",
    )
    archive: bool = option(
        Flag(),
        default=True,
        help="Whether workers copy finished runs to archive_url. With false, run runner archive --follow.",
    )
    recycle: Recycle = option(
        Section(
            Recycle,
            {
                "worker_max_tasks_per_child": "runs",
                "max_tasks_per_child": "runs",
                "tasks": "runs",
                "worker_max_memory_per_child": "memory",
                "max_memory_per_child": "memory",
            },
        ),
        default=_RECYCLE,
        help="When a process of the pool is replaced, between two runs.",
        examples=({"runs": 1000, "memory": "300MiB"},),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebToken:
    """One entry of ``web.tokens``: who has a token, and what they may do."""

    sha256: str = option(
        Text(pattern=r"^[0-9a-f]{64}$", advice="runner web --new-token NAME prints it"),
        help="The SHA-256 of the token, in hex; the token itself is not stored.",
    )
    role: str = option(
        Choice(("read", "operate", "admin")),
        default="read",
        help="read can only look; operate can also submit, revoke, and rerun; admin can also pause and forget.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The ``web:`` section: who may use the dashboard and the REST API."""

    host: str = option(Text(min_length=1), default="127.0.0.1", help="The address that runner web listens on.")
    port: int = option(Integer(1, 65535), default=8420, help="The port that runner web listens on.")
    tokens: Mapping[str, WebToken] = option(
        MapOf(NAMESPACE, Section(WebToken)),
        default={},
        help="Who can log in, by name. Without tokens, runner web listens only on this host, and prints a link with a "
        "token when it starts.",
        examples=({"alice": {"sha256": "0" * 64, "role": "operate"}},),
    )
    trusted_header: str | None = option(
        Text(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$", advice="name a header, such as X-Forwarded-User"),
        default=None,
        help="The header in which a reverse proxy passes the name of the user.",
        examples=("X-Forwarded-User",),
    )
    trusted_proxies: tuple[str, ...] = option(
        ListOf(Text(min_length=1), unique=True),
        default=("127.0.0.1", "::1"),
        help="The addresses, or networks such as 10.0.0.0/8, from which this header and X-Forwarded-For are trusted.",
    )
    hosts: tuple[str, ...] = option(
        ListOf(
            Text(
                pattern=r"^([a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?|[0-9a-f:.]*:[0-9a-f:.]*)$",
                advice="write a name such as runner.example.com, without a port",
            ),
            unique=True,
        ),
        default=(),
        help="The host names under which browsers reach runner web. Requests for other names are refused, except for "
        "localhost and the address that they are sent to.",
        examples=(["runner.example.com"],),
    )
    trusted_role: str = option(
        Choice(("read", "operate", "admin")), default="operate", help="The role of users that the proxy names."
    )
    edit: bool = option(
        Flag(),
        default=False,
        help="Whether administrators may edit job files in the browser. Job files name the code that workers run, so "
        "this lets them run any code as the user of the workers.",
    )


def _check_worker(worker: WorkerSettings, path: OptionPath, report: Report) -> bool:
    if not worker.queues:
        report((*path, "queues"), advise("is empty", "list at least one queue, such as [default]"))
        return False
    return True


def _check_web(web: WebSettings, path: OptionPath, report: Report) -> bool:
    import ipaddress  # start-up time: few projects name proxies

    sound = True
    for number, text in enumerate(web.trusted_proxies):
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            report(
                (*path, "trusted_proxies", number),
                advise(f"{text!r} is neither an address nor a network ({error})", "write 10.0.0.7 or 10.0.0.0/8"),
            )
            sound = False
    return sound


_RETENTION = SettingsRetention()
_LIMITS = Limits()
_WORKER = WorkerSettings()
_WEB = WebSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a project, with all defaults. Paths are absolute."""

    project: Path
    """The project's folder."""
    found: bool = False
    """Whether a search found the project; otherwise the user named it."""
    vouched: tuple[str, ...] = ()
    """The folders that the user trusts, by ``RUNNER_TRUSTED_FOLDERS`` or the user's settings file."""
    file: Path | None = None
    """Its ``runner.yaml``, if it exists."""
    environment: str | None = None
    """The value of ``RUNNER_ENV``, such as ``prod``."""
    environment_file: Path | None = None
    """The ``runner.prod.yaml`` for it, merged over ``file``."""
    embedded_allowed: bool = True
    """False with ``RUNNER_EMBEDDED=0``."""
    warnings: tuple[str, ...] = ()
    """Messages about things that are probably mistakes, but no errors."""
    hidden_url: bool = False
    """Whether ``redis_url`` came from ``env:NAME`` or ``file:PATH``."""
    hidden_broker_url: bool = False
    """Whether ``broker_url`` came from there."""
    hidden_archive_url: bool = False
    """Whether ``archive_url`` came from there."""

    redis_url: str = option(
        Text(min_length=1),
        default="embedded",
        help="The Redis with the ledger and the queues: embedded (a private server in .runner/), a URL, env:NAME, or "
        "file:PATH.",
        examples=("embedded", "redis://localhost:6379/0", "env:REDIS_URL", "file:/run/secrets/redis_url"),
    )
    broker_url: str | None = option(
        Text(min_length=1),
        default=None,
        help="The RabbitMQ that notifies workers of waiting runs: amqp://, amqps://, env:NAME, or file:PATH. Without "
        "it, Redis notifies them. Separate several servers with ;.",
        examples=("amqp://runner:password@localhost:5672/", "env:BROKER_URL", "file:/run/secrets/broker_url"),
    )
    archive_url: str | None = option(
        Text(min_length=1),
        default=None,
        help="The database that finished runs are copied to: sqlite:///FILE (relative to the project), "
        "postgresql://HOST/DATABASE, env:NAME, or file:PATH. Without it, runs are lost when retention ends.",
        examples=("sqlite:///runner.db", "postgresql://runner@db.example.com/runner", "env:ARCHIVE_URL"),
    )
    namespace: str = option(
        NAMESPACE,
        default="runner",
        help="The prefix of every key, queue, and control channel. Projects with different namespaces can share a "
        "Redis.",
    )
    durability: str = option(
        Choice(("local", "replicated")),
        default="local",
        help="replicated: submissions, revocations, and outcomes wait until a replica has received them.",
    )
    jobs_dir: tuple[Path, ...] = option(
        Folders(one=True), default=(Path(JOBS_FOLDER),), help="The folder of job files, or a list of folders."
    )
    trusted_folders: tuple[Path, ...] = option(
        Folders(),
        default=(),
        help="Folders whose job files are read no matter who owns them or can write to them, such as a volume that "
        "only this container mounts.",
        examples=(["/etc/jobs"],),
    )
    state_dir: Path = option(
        OneFolder(),
        default=Path(STATE_FOLDER),
        help="The folder for the data that the runner keeps on this host: the embedded server's data, the log of up "
        "-d, and a cache. It is created if necessary. Choose another one if the project is not writable.",
        examples=("/var/lib/reports",),
    )
    defaults: Mapping[str, Any] = option(
        JobDefaults(),
        default={},
        help="Default options for all jobs. A file's defaults and a job's own options take precedence.",
        examples=({"queue": "reports"},),
    )
    python_path: tuple[Path, ...] = option(
        Folders(), default=(Path(),), help="The folders to import jobs from; they are put first in sys.path."
    )
    setup: str | None = option(
        IMPORT_PATH,
        default=None,
        help="A function that each worker process calls before it imports a job.",
        examples=("project.boot:setup",),
    )
    timezone: str = option(
        Timezone(),
        default="UTC",
        help="The time zone of schedules, and of times without an offset.",
        examples=("Europe/Berlin",),
    )
    schedules: bool = option(
        Flag(), default=True, help="false: no scheduled runs are submitted, for example on a staging host."
    )
    calendars: Mapping[str, str | tuple[str, ...]] = option(
        CalendarSources(),
        default={},
        help="Named calendars for except and only of schedules: a list of dates, file:PATH (one date per line, or "
        ".ics), or holidays:COUNTRY.",
        examples=({"holidays": ["2026-12-25"], "trading": "file:trading.ics", "bavaria": "holidays:DE-BY"},),
    )
    retention: SettingsRetention = option(
        Section(SettingsRetention, {"results": "result", "keep": "history", "max_runs": "runs", "keys": "key"}),
        default=_RETENTION,
        help="How long finished runs and their results are kept, unless the job sets it.",
    )
    limits: Limits = option(Section(Limits), default=_LIMITS, help="The maximum size of parts of a run's record.")
    worker: WorkerSettings = option(
        Section(
            WorkerSettings,
            {"worker_concurrency": "concurrency", "processes": "concurrency", "timeout": "shutdown_grace"}
            | {"max_tasks_per_child": "recycle.runs", "worker_max_tasks_per_child": "recycle.runs"}
            | {"max_memory_per_child": "recycle.memory", "worker_max_memory_per_child": "recycle.memory"},
            _check_worker,
        ),
        default=_WORKER,
        help="The defaults of runner worker.",
    )
    web: WebSettings = option(
        Section(WebSettings, {}, _check_web),
        default=_WEB,
        help="The address of the dashboard and the REST API, and who can use them.",
    )
    celery: Mapping[str, Any] = option(
        CelerySettings(),
        default={},
        help="Lower-case Celery settings, which are passed on. Those that the runner sets itself are refused.",
        examples=({"worker_send_task_events": True},),
    )

    def __post_init__(self) -> None:
        for name in ("jobs_dir", "python_path", "trusted_folders"):
            folders = tuple(Path(os.path.normpath(self.project / folder)) for folder in getattr(self, name))
            object.__setattr__(self, name, folders)
        object.__setattr__(self, "state_dir", Path(os.path.normpath(self.project / self.state_dir)))

    @property
    def on_amqp(self) -> bool:
        """Whether RabbitMQ notifies workers of waiting runs; otherwise Redis does."""
        return self.broker_url is not None

    @property
    def trust(self) -> Trust:
        """The users whose files are read."""
        return Trust(self.found, (*self.vouched, *map(str, self.trusted_folders)))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of these settings; later files take precedence."""
        return tuple(file for file in (self.file, self.environment_file) if file is not None)


_OWN = frozenset({"concurrency", *(option.key for option in options_of(Settings))})
"""Options of jobs that have another meaning here."""

SETTINGS = Section(
    Settings,
    {
        "scheduler": "schedules",
        "broker": "broker_url",
        "redis": "redis_url",
        "result_backend": "redis_url",
        "url": "redis_url",
        "prefix": "namespace",
        "jobs": hint("declare jobs in the files of jobs_dir"),
        "pythonpath": "python_path",
        "tz": "timezone",
        "concurrency": "worker.concurrency",
        "queues": "worker.queues",
        **{declared.key: f"defaults.{declared.key}" for declared in options_of(JobSpec) if declared.key not in _OWN},
        **FOREIGN_SETTING_NAMES,
    },
)
"""The options of ``runner.yaml``. Keys that begin with ``x-`` are ignored, so that they can contain anchors."""
