"""Commands as another user: without a passwd entry, without a home folder, and with read-only folders."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.project import COMMAND, Result, clean_environment

STRANGER = 54321
"""A user without a passwd entry."""

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, or mounts, which root alone can")


def as_user(words: Sequence[str], uid: int = STRANGER) -> list[str]:
    """Return the command that runs ``words`` as a user who can read what root can, because Python may be private."""
    can_read = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    ids = ["--reuid", str(uid), "--regid", str(uid), "--clear-groups"]
    return [need("setpriv"), *ids, *can_read, *words]


def with_mounts(
    words: Sequence[str], *, read_only: Sequence[Path | str] = (), sealed: bool = False, spare: str = ""
) -> list[str]:
    """Return the command that runs ``words`` with its own mounts.

    Args:
        words: the command.
        read_only: folders that no user can write to.
        sealed: make all file systems read-only, including ``/tmp`` and ``/dev/shm``.
        spare: a mount that is left unchanged, such as ``/dev/shm``.
    """
    lines = ["set -e"]
    if sealed:
        lines += ["for m in $(cut -d' ' -f5 /proc/self/mountinfo | sort -r); do"]
        spared = "/proc*|/sys*|/dev|/dev/pts" + ("" if not spare else f"|{spare}")
        lines += [f"case $m in {spared}) ;; *) mount -o remount,ro,bind $m 2>/dev/null || :;; esac"]
        lines += ["done"]
    for folder in map(str, read_only):
        quoted = shlex.quote(folder)
        lines += [f"mount --bind {quoted} {quoted}", f"mount -o remount,ro,bind {quoted}"]
    lines += ['exec "$@"']
    return [need("unshare"), "-m", "sh", "-c", "\n".join(lines), "sh", *words]


def run_as(
    args: Sequence[str | Path],
    *,
    cwd: Path,
    uid: int | None = STRANGER,
    env: Mapping[str, str | None] | None = None,
    read_only: Sequence[Path | str] = (),
    sealed: bool = False,
    spare: str = "",
    timeout: float = 90.0,
) -> Result:
    """Run ``runner ARGS`` as a user (None: the current one), without HOME, and wait for its end."""
    words = [*COMMAND, *map(str, args)]
    if uid is not None:
        words = as_user(words, uid)
    if read_only or sealed:
        words = with_mounts(words, read_only=read_only, sealed=sealed, spare=spare)
    bare: dict[str, str | None] = dict.fromkeys(("HOME", "LOGNAME", "USER", "USERNAME", "LNAME"))
    # The package must not be compiled again if it cannot be written.
    environment = clean_environment({**bare, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})
    done = subprocess.run(
        words, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
    )
    return Result(tuple(map(str, args)), done.returncode, done.stdout.decode(), done.stderr.decode())
