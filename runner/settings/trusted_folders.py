"""Read the folders that this user trusts, from ``RUNNER_TRUSTED_FOLDERS`` and the user's own settings file.

The option ``trusted_folders`` of a project does not make the project itself trusted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from runner.errors import InvalidSettings
from runner.host.regular import read_regular
from runner.host.trust import SETTING, VARIABLE
from runner.host.users import NoHome, expand_home, home_of
from runner.model.option import did_you_mean
from runner.yaml_reader.reader import MAX_BYTES, read_bytes


def trusted_folders(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the absolute paths of the folders.

    Raises:
        InvalidSettings: the file cannot be read or is invalid, or a path is relative.
    """
    given = [(VARIABLE, text) for text in environ.get(VARIABLE, "").split(os.pathsep) if text.strip()]
    file = user_file(environ)
    if file is not None and file.exists():
        given += [(str(file), text) for text in _read(file)]
    return tuple(_absolute(source, text.strip()) for source, text in given)


def user_file(environ: Mapping[str, str]) -> Path | None:
    """Return the path of this user's settings file, which may not exist; None for a user without a home folder."""
    named = environ.get("XDG_CONFIG_HOME", "")
    if named.startswith("/"):
        return Path(named, "runner", "config.yaml")
    home = home_of(environ)
    return None if home is None else home / ".config" / "runner" / "config.yaml"


def _read(file: Path) -> list[str]:
    try:
        status = file.stat()
        data = read_regular(file, MAX_BYTES)
    except OSError as error:
        raise InvalidSettings(f"{file} cannot be read: {error.strerror}", hint="check its owner and mode") from None
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o002:
        raise InvalidSettings(f"{file} decides whom you trust, and others can write to it", hint=f"chmod o-w {file}")
    document = read_bytes(data, str(file))
    value = document.value
    if document.problems:
        raise InvalidSettings("\n".join(map(str, sorted(document.problems))), hint=f"correct {file}")
    if value is None:
        return []
    unknown = [key for key in value if key != SETTING] if isinstance(value, dict) else []
    folders = value.get(SETTING, []) if isinstance(value, dict) else None
    if unknown:
        raise InvalidSettings(
            f"{file}: {unknown[0]}: unknown option{did_you_mean(str(unknown[0]), [SETTING])}",
            hint=f"write {SETTING}: [/srv/reports]",
        )
    if not isinstance(folders, list) or not all(isinstance(folder, str) and folder for folder in folders):
        raise InvalidSettings(f"{file}: {SETTING} is not a list of folders", hint=f"write {SETTING}: [/srv/reports]")
    return folders


def _absolute(source: str, text: str) -> str:
    try:
        path = expand_home(Path(text))
    except NoHome as error:
        raise InvalidSettings(f"{source}: {error}", hint="write an absolute path") from None
    if not path.is_absolute():
        raise InvalidSettings(f"{source}: {text!r} is not an absolute path", hint="write an absolute path")
    return str(path)
