"""Write a job for a function from its signature, type hints, defaults, and docstring."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

from runner._dataclass import dataclass
from runner.authoring.code_check import IMPORT_SECONDS, describe_code
from runner.authoring.schema import JOBS_FILE
from runner.authoring.writing import CannotInsert, insert
from runner.catalog.catalog import load_catalog
from runner.catalog.jobs_file import JobsFile, read_defaults, read_jobs
from runner.errors import InvalidSpec, UsageError
from runner.host.regular import read_regular
from runner.model.hooks import JOB_NAME
from runner.model.option import INVALID, ignore
from runner.model.task_options import IMPORT_PATH
from runner.settings import Settings
from runner.yaml_reader.reader import MAX_BYTES, read_text

__all__ = ["IMPORT_SECONDS", "NewJob", "new_job", "options_of_new"]

_MODE = 0o644


@dataclass(frozen=True)
class NewJob:
    """A new job. ``text``: the whole file; ``added``: whether the file existed before."""

    name: str
    path: Path
    text: str
    added: bool
    required: tuple[str, ...]
    """The required params."""


def new_job(
    settings: Settings,
    name: str,
    task: str,
    file: Path | None = None,
    *,
    write: bool = True,
    import_seconds: float = IMPORT_SECONDS,
) -> NewJob:
    """Create a job for a callable and add it at the end of a job file.

    Args:
        settings: the settings of the project.
        name: the name of the job.
        task: ``module:function``.
        file: the job file; by default ``NAME.yaml`` in the first folder of jobs.
        write: False does not write the file.
        import_seconds: the timeout of importing the module.

    Raises:
        UsageError: the name is invalid or taken, or the job cannot be added to the file.
        InvalidSpec: the callable cannot be loaded, or its parameters cannot be params.
    """
    _check(name, JOB_NAME, "the name of a job")
    _check(task, IMPORT_PATH, "the path of a function")
    path = _path(settings, name, file)
    catalog = load_catalog(settings, use_cache=False)
    if name in catalog.broken or name in catalog.jobs:
        where = catalog.broken.get(name) or f"{catalog.jobs[name].file}:{catalog.jobs[name].line}"
        raise UsageError(f"job {name} is declared in {where} already", hint="choose another name; nothing was written")
    described = describe_code(settings, task, import_seconds)
    options, notes = options_of_new(task, described)
    before = _read(path)
    try:
        text = insert(before if before is not None else _head(settings, path), name, options, notes)
    except CannotInsert as error:
        raise UsageError(f"{path}: {error}", hint="name another file with --file, or add the job by hand") from error
    _verify(settings, path, before, text, name)
    if write:
        _write(path, before, text)
    required = tuple(param for param, schema in options.get("params", {}).items() if schema.get("required"))
    return NewJob(name, path, text, before is not None, required)


def _check(value: str, kind: Any, what: str) -> None:
    messages: list[str] = []

    def report(path: Any, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        messages.append(message)

    if kind.read(value, (), report) is INVALID:
        raise UsageError(f"{what}: {messages[0]}")


def _path(settings: Settings, name: str, file: Path | None) -> Path:
    if file is None:
        return settings.jobs_dir[0] / f"{name}.yaml"
    candidates = [Path(os.path.normpath(base / file)) for base in (Path.cwd(), settings.project)]
    for path in candidates:
        for folder in settings.jobs_dir:
            if path.is_relative_to(folder):
                parts = path.relative_to(folder).parts
                if path.suffix in (".yaml", ".yml") and not any(part.startswith((".", "#", "~")) for part in parts):
                    return path
                raise UsageError(f"{file} would not be read: hidden, or its name does not end in .yaml")
    folders = ", ".join(map(str, settings.jobs_dir))
    raise UsageError(f"{file} is in no folder of jobs", hint=f"name a file in {folders}")


def options_of_new(task: str, described: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options of a job for a callable, and notes about its params.

    Args:
        task: the import path of the callable.
        described: the result of :func:`runner.authoring.inspection.describe`.

    Raises:
        InvalidSpec: its parameters cannot be params.
    """
    example = described["example"]
    if described["reserved"] and example is None:
        raise InvalidSpec(
            f"{task} takes its options as fixed kwargs, which only you can choose",
            hint="write the job by hand: task, and kwargs with the options of the stock task",
        )
    by_position = [param["name"] for param in described["params"] if param["kind"] == "by_position" and param["needed"]]
    if by_position:
        raise InvalidSpec(
            f"{task} takes {', '.join(by_position)} by position only, and params are given by name",
            hint="write the job by hand, with args; or remove the / from the function",
        )
    options: dict[str, Any] = {"task": task}
    if described["description"]:
        options["description"] = described["description"]
    named = [param for param in described["params"] if param["kind"] == "named"]
    if example is not None:
        # Only YAML may decide what a stock task does. Optional params are left out.
        options["kwargs"] = example
        named = [param for param in named if param["needed"] and param["name"] not in described["reserved"]]
    if named:
        options["params"] = {param["name"]: param["schema"] for param in named}
    return options, {param["name"]: param["note"] for param in named if param["note"]}


def _head(settings: Settings, path: Path) -> str:
    """Return the beginning of a new file: the line that leads editors to the schema, if that exists."""
    schema = settings.project / "schema" / JOBS_FILE
    if not schema.exists():
        return ""
    return f"# yaml-language-server: $schema={os.path.relpath(schema, path.parent)}\n"


def _read(path: Path) -> str | None:
    try:
        data = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        if len(data) <= MAX_BYTES:
            return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise UsageError(f"{path} is not a jobs file", hint="runner validate tells what is wrong with it")


def _verify(settings: Settings, path: Path, before: str | None, text: str, name: str) -> None:
    """Check that the file has the new valid job, and all others unchanged."""
    old, new = _jobs(settings, path, before or ""), _jobs(settings, path, text)
    kept = {entry.name: entry.digest for entry in new.entries if entry.name != name}
    if len(new.problems) > len(old.problems):
        new_problem = next(problem for problem in new.problems if problem not in old.problems)
        raise InvalidSpec(f"the new job would have problems, so nothing was written: {new_problem}")
    sound = any(entry.name == name for entry in new.entries)
    if not sound or kept != {entry.name: entry.digest for entry in old.entries}:
        raise UsageError(
            f"{path} is written in such a way that a job cannot be added", hint="name another file with --file"
        )


def _jobs(settings: Settings, path: Path, text: str) -> JobsFile:
    defaults, _ = read_defaults(settings.defaults, ignore)
    return read_jobs(read_text(text.removeprefix("\ufeff"), str(path)), defaults)


def _write(path: Path, before: str | None, text: str) -> None:
    """Replace the file atomically, so that a worker sees the old one or the new one."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # 0644 whatever the umask, because world-writable files are refused when they are read.
        mode = _MODE if before is None else stat.S_IMODE(target.stat().st_mode)
        try:
            temporary.write_bytes(text.encode("utf-8"))
            temporary.chmod(mode)
            if before is None:
                os.link(temporary, target)  # fails if a file was created meanwhile
            elif _read(target) != before:
                raise UsageError(f"{path} was changed meanwhile, nothing was written", hint="run the command again")
            else:
                temporary.replace(target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except FileExistsError as error:
        raise UsageError(f"{path} exists by now, nothing was written", hint="run the command again") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
