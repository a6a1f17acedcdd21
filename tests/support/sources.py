"""The files of the repository: those tracked by git, or the original files of an unpacked sdist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.need import need

ROOT = Path(__file__).parents[2]
_MADE = re.compile(r"(^|/)(__pycache__|\.(?!ci/|github/)[^/]*|dist|build|site)/|\.pyc$|^\.coverage|^PKG-INFO$")
"""Files that tests, tools, and builds create in a folder, and files that only an sdist has."""


def sources() -> list[str]:
    """Return the paths of all files, relative to the repository."""
    if (ROOT / ".git").exists():
        listed = subprocess.check_output([need("git"), "ls-files", "-z"], cwd=ROOT, text=True, timeout=60)
        return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    names = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return sorted(name for name in names if not _MADE.search(name))
