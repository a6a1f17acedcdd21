"""Create a project that works at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

from runner.authoring.schema import jobs_schema, runner_schema
from runner.errors import UsageError
from runner.host.regular import read_regular
from runner.model.timezone import unknown_zone
from runner.settings.discovery import check_path

_RUNNER_YAML = """\
# yaml-language-server: $schema=schema/runner.schema.json
# The settings of this project; `runner schema runner` prints all of them.

# A private server under .runner/. For several hosts, one that all of them reach: redis://HOST:6379/0
redis_url: embedded

# Times without an offset are meant in this zone.
timezone: {timezone}

# Where the modules of jobs are imported from.
python_path: [.]
"""

_EXAMPLE_YAML = """\
# yaml-language-server: $schema=../schema/jobs.schema.json
# Jobs of this project: every *.yaml file in this folder is read. `runner validate` checks them.
jobs:
  hello:
    task: my_jobs:hello            # module:function, in my_jobs.py
    description: Says hello
    params:
      name: {type: string, default: world, description: Whom to greet}
    timeout: 1m

  # A shell script, tried again when it fails:
  #
  # disk-usage:
  #   task: runner.tasks.shell:run
  #   description: What takes room in a folder
  #   kwargs:
  #     script: du -sk -- "$PARAM_FOLDER"
  #   params:
  #     folder: {type: string, default: "."}
  #   retry: {max_retries: 3, delay: 10s, backoff: exponential}
  #   expires: 1h
"""

_MY_JOBS = '''\
"""The jobs of this project. A job is any function that can be imported."""


def hello(name: str) -> str:
    """Return a greeting; what a job returns is the result of its run."""
    return f"Hello, {name}!"
'''

_IGNORED = ".runner/"
_LARGEST_IGNORE = 1024**2
"""The maximum size of a .gitignore that is changed (bytes)."""


def init(folder: Path, *, example: bool = True) -> list[Path]:
    """Write a project to ``folder`` and return the written files; ``example``: with a job.

    Raises:
        InvalidSettings: the path has a control character.
        UsageError: a file exists or cannot be written; no other files are left behind.
    """
    check_path(folder.absolute())
    files = {
        "runner.yaml": _RUNNER_YAML.format(timezone=host_timezone()),
        **({"jobs.d/example.yaml": _EXAMPLE_YAML, "my_jobs.py": _MY_JOBS} if example else {}),
        "schema/jobs.schema.json": json.dumps(jobs_schema(), indent=2, ensure_ascii=False) + "\n",
        "schema/runner.schema.json": json.dumps(runner_schema(), indent=2, ensure_ascii=False) + "\n",
    }
    taken = [name for name in files if os.path.lexists(folder / name)]
    if taken:
        raise UsageError(
            f"{folder} holds {', '.join(taken)} already, nothing was written",
            hint="name an empty folder: runner init DIR",
        )
    written: list[Path] = []
    try:
        for name, text in files.items():
            written.append(write_new(folder / name, text))
        return [*written, *_ignore(folder / ".gitignore")]
    except OSError as error:
        # Half a project would prevent the next try.
        for path in written:
            path.unlink(missing_ok=True)
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}",
            hint="choose a folder that you can write to, on a disk with free space",
        ) from error


def write_new(path: Path, text: str) -> Path:
    """Write a new file and its folder; return its path. After a failure, nothing is left behind."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # 0644 whatever the umask, because world-writable files are refused when they are read.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
    except OSError:
        path.unlink()
        raise
    return path


def _ignore(path: Path) -> list[Path]:
    """Keep the runner's state out of git; a line is added to an existing file."""
    held = read_regular(path, _LARGEST_IGNORE) if path.exists() else b""
    lines = held.decode("utf-8", "surrogateescape").splitlines()
    if len(held) > _LARGEST_IGNORE or {_IGNORED, _IGNORED.rstrip("/"), "/" + _IGNORED} & set(lines):
        return []
    path.write_bytes("\n".join([*lines, _IGNORED, ""]).encode("utf-8", "surrogateescape"))
    return [path]


def host_timezone() -> str:
    """Return the name of this host's time zone, which crontabs use, or UTC if it cannot be found."""
    candidates = [os.environ.get("TZ", "").removeprefix(":")]
    if not candidates[0]:
        candidates = [_zone_of_link(), _zone_of_file()]
    for name in candidates:
        if name and unknown_zone(name) is None:
            return name
    return "UTC"


def _zone_of_link() -> str:
    name = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
    return name.removeprefix("posix/").removeprefix("right/")


def _zone_of_file() -> str:
    try:
        return Path("/etc/timezone").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
