"""Read :class:`Settings` from ``runner.yaml`` and ``RUNNER_*`` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import InvalidSettings, NoProject
from runner.host.regular import open_regular, read_at_most
from runner.host.trust import NAMED, Trust, closing_hint
from runner.model.message import advise
from runner.model.option import Path as OptionPath
from runner.settings import environment
from runner.settings.archive_url import look_up_archive
from runner.settings.broker_url import look_up_broker
from runner.settings.discovery import SETTINGS_FILE, ProjectFolder, check_found, environment_file, find_project
from runner.settings.document_cache import DocumentCache
from runner.settings.options import SETTINGS, STATE_FOLDER, Settings
from runner.settings.redis_url import BadUrl, look_up
from runner.settings.trusted_folders import trusted_folders
from runner.yaml_reader.merge import merge_options
from runner.yaml_reader.reader import MAX_BYTES, Document, read_bytes, source_of

_LOOKED_UP = ("env:", "file:")


def load_settings(
    project: str | Path | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> Settings:
    """Return the settings of a project: ``runner.yaml``, the file of ``RUNNER_ENV``, and the variables, in this order.

    Args:
        project: the folder of the project; if None, :func:`runner.settings.discovery.find_project` searches for it.
        environ: the environment variables.
        cwd: the folder where the search starts; by default, the working folder.

    Raises:
        NoProject: there is no project, or its ``jobs_dir`` does not exist.
        InvalidSettings: a setting is invalid; the message has a line for each problem.
    """
    return _load(find_project(project, environ, cwd or _working_folder()), environ)


def load_again(settings: Settings, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the current settings of the same project. Raises the same errors as :func:`load_settings`."""
    named = find_project(settings.project, environ, settings.project)
    return _load(ProjectFolder(named.folder, found=settings.found), environ)


def _working_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        raise NoProject(
            f"the working folder cannot be read: {error.strerror}", hint="cd to a folder that exists, or use --project"
        ) from None


def _load(project: ProjectFolder, environ: Mapping[str, str]) -> Settings:
    folder = project.folder
    trust = Trust(project.found, trusted_folders(environ))
    if project.found:
        check_found(folder, trust)
    file = folder / SETTINGS_FILE
    cache = DocumentCache(Path(os.path.normpath(folder / environ.get("RUNNER_STATE_DIR", STATE_FOLDER))))
    documents = [read_file(file, trust, cache) if os.path.lexists(file) else Document(SETTINGS_FILE)]
    over = _environment_file(folder, environ)
    if over is not None:
        documents.append(read_file(over, trust, cache))
    reading = _Reading(documents, environ)
    values = reading.values() if all(document.readable for document in documents) else {}
    if not reading.sound:
        raise reading.error(folder)
    settings = Settings(
        project=folder,
        found=project.found,
        vouched=trust.folders,
        file=file if file.exists() else None,
        environment=environ["RUNNER_ENV"] if over is not None else None,
        environment_file=over,
        embedded_allowed=reading.embedded_allowed(),
        warnings=tuple(environment.unknown(environ, reading.variables)),
        **values,
    )
    settings = _look_around(settings, reading)
    if settings.state_dir == cache.state_dir:
        cache.save()
    return settings


def _environment_file(folder: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the file that ``RUNNER_ENV`` names, or None if it is not set.

    Raises:
        InvalidSettings: the name is invalid, or the file does not exist.
    """
    name = environ.get("RUNNER_ENV")
    if name is None:
        return None
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise InvalidSettings(
            f"RUNNER_ENV: {name!r} is not the name of an environment" if name else "RUNNER_ENV: is set but empty",
            hint=f"write a name such as prod, which means {environment_file('prod')}, or unset it",
        )
    file = folder / environment_file(name)
    if not file.exists():
        other = file.with_suffix(".yml")
        hint = f"rename {other} to {file.name}" if other.exists() else f"write {file}, or unset RUNNER_ENV"
        raise InvalidSettings(f"RUNNER_ENV: there is no {file}", hint=hint)
    return file


def read_file(file: Path, trust: Trust = NAMED, cache: DocumentCache | None = None) -> Document:
    """Return a ``runner.yaml`` as a document, which knows the positions of its values.

    Args:
        file: the path.
        trust: the users whose files are read.
        cache: the cache to use; None parses the file.

    Raises:
        InvalidSettings: the file cannot be read, or others may have written it.
    """
    try:
        descriptor = open_regular(file)
        try:
            status = os.fstat(descriptor)
            if trust.is_open(file, status):
                raise InvalidSettings(
                    f"{file} decides what code runs, and anybody can write to it",
                    hint=closing_hint(file, status, str(file), run=""),
                )
            owner = trust.stranger(file, status.st_uid)
            if owner is not None:
                raise InvalidSettings(
                    f"{file} decides what code runs, and belongs to {owner}",
                    hint=f"if you trust {owner}, name the project: --project {file.parent}",
                )
            read = read_bytes if cache is None else cache.read
            return read(read_at_most(descriptor, MAX_BYTES), file.name, status.st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be read: {error.strerror}", hint="check its owner and mode") from error


class _Reading:
    """Reads some documents, each merged over those before it, and the variables over all of them.

    It collects the problems of documents and variables.
    """

    def __init__(self, documents: Sequence[Document], environ: Mapping[str, str]) -> None:
        self.documents = documents
        self.environ = environ
        self.wrong_variables: list[str] = []
        self._from_variable: dict[tuple[str, ...], str] = {}
        known = list(environment.variables(Settings))
        self.variables = frozenset(name for name, _, _ in known)
        self._set = [option for option in known if option[0] in environ]

    @property
    def sound(self) -> bool:
        return not any(document.problems for document in self.documents) and not self.wrong_variables

    def values(self) -> dict[str, Any]:
        """Return the fields of ``Settings`` that files and variables set."""
        given: dict[str, Any] = {}
        for document in self.documents:
            own = {} if document.value is None else document.value
            if not isinstance(own, dict):
                document.report((), "expected options such as redis_url: embedded")
                return {}
            given = _merge(given, {key: value for key, value in own.items() if not key.startswith("x-")})
        self._apply_variables(given)
        values, _ = SETTINGS.read_fields(given, (), self.report)
        return values

    def _apply_variables(self, given: dict[str, Any]) -> None:
        for name, path, value_type in self._set:
            text = self.environ[name]
            if not text.strip():
                self.wrong_variables.append(f"{name}: is set but empty, unset it or write a value")
                continue
            *sections, last = path
            holder: Any = given
            for section in sections:
                # A copy: by an anchor, the same mapping may be the value of two keys.
                holder[section] = dict(holder[section]) if isinstance(holder.get(section), dict) else {}
                holder = holder[section]
            holder[last] = environment.plain_value(text.strip(), value_type)
            self._from_variable[path] = name

    def report(self, path: OptionPath, message: str, *, on_key: bool = False) -> None:
        """Record a problem of the file or the variable that the value came from."""
        for length in range(len(path), 0, -1):
            name = self._from_variable.get(path[:length])  # type: ignore[arg-type]
            if name is not None:
                self.wrong_variables.append(f"{name}: {message}")
                return
        document = source_of(self.documents, path)
        if not any(path[: len(faulty)] == faulty for faulty in document.faulty):
            document.report(path, message, on_key=on_key)

    def embedded_allowed(self) -> bool:
        """Return the value of ``RUNNER_EMBEDDED``."""
        text = self.environ.get("RUNNER_EMBEDDED", "1")
        if text not in ("0", "1"):
            raise InvalidSettings(
                f"RUNNER_EMBEDDED: {text!r} is not 0 or 1", hint="0 forbids the embedded server; unset it to allow it"
            )
        return text == "1"

    def error(self, folder: Path) -> InvalidSettings:
        """Return the error with all problems, one per line."""
        problems = [problem for document in self.documents for problem in sorted(document.problems)]
        error = InvalidSettings("\n".join([*map(str, problems), *self.wrong_variables]), hint=self.hint(folder))
        if not self.wrong_variables:
            error.problems, error.folder = tuple(problems), folder
        return error

    def hint(self, folder: Path) -> str:
        """Return the hint, which names the files to correct."""
        sources = [str(folder / document.file) for document in self.documents if document.problems]
        sources += ["the environment"] if self.wrong_variables else []
        return f"correct {' and '.join(sources)}; runner explain runner lists all options"


def _merge(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return merged settings: mappings by key, and ``defaults`` like the options of jobs; null resets."""
    merged = merge_options(base, own) if base else dict(own)
    if isinstance(base.get("defaults"), dict) and isinstance(own.get("defaults"), dict):
        merged["defaults"] = merge_options(base["defaults"], own["defaults"])
    return merged


def _look_around(settings: Settings, reading: _Reading) -> Settings:
    """Return ``settings`` with all URLs looked up, after checking that files and folders exist."""
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
    broker = None
    try:
        broker = look_up_broker(settings.broker_url, url, settings.project, reading.environ)
    except BadUrl as bad:
        reading.report(("broker_url",), str(bad))
    archive = settings.archive_url
    if archive is not None:
        try:
            archive = look_up_archive(archive, settings.project, reading.environ)
        except BadUrl as bad:
            reading.report(("archive_url",), str(bad))
    if not reading.sound:
        raise reading.error(settings.project)
    if missing:
        raise NoProject(
            f"jobs_dir: there is no folder {missing[0]}",
            hint=f"mkdir {missing[0]}, or create a project with example jobs: runner init",
        )
    return replace(
        settings,
        redis_url=url,
        hidden_url=settings.redis_url.startswith(_LOOKED_UP),
        broker_url=broker,
        hidden_broker_url=broker is not None and str(settings.broker_url).startswith(_LOOKED_UP),
        archive_url=archive,
        hidden_archive_url=(settings.archive_url or "").startswith(_LOOKED_UP),
    )


def _check_python_folder(folder: Path, path: OptionPath, reading: _Reading) -> None:
    if not folder.is_dir():
        reading.report(path, f"there is no folder {folder}")
    for name in ("celery.py", "runner.py"):
        if (folder / name).exists():
            reading.report(
                path,
                advise(
                    f"{folder / name} would hide the package {name[:-3]}, which the runner needs", "rename the file"
                ),
            )
