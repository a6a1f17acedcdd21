"""``runner.yaml``, with the ``RUNNER_*`` variables over it, becomes :class:`Settings`."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import InvalidSettings, NoProject
from runner.model.option import Path as OptionPath
from runner.settings import environment
from runner.settings.discovery import SETTINGS_FILE, find_project
from runner.settings.options import SETTINGS, Settings
from runner.settings.redis_url import BadUrl, look_up
from runner.spec.reader import MAX_BYTES, Document, read_bytes


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
