"""Find the host's folder for temporary files, and check that semaphores work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from runner.errors import InvalidSettings

_MEMORY = "/dev/shm"  # noqa: S108 - what a container has where its root file system is read-only


def temporary_folder() -> Path:
    """Return the folder for temporary files; ``/dev/shm`` where none of the usual ones can be written to.

    The choice holds for this process and those that it starts.

    Raises:
        InvalidSettings: there is none at all.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        if os.access(_MEMORY, os.W_OK):
            os.environ["TMPDIR"] = tempfile.tempdir = _MEMORY
            return Path(_MEMORY)
        raise InvalidSettings(
            f"there is no folder for temporary files: {error.strerror}",
            hint="mount one that can be written to (docker run --tmpfs /tmp; in Kubernetes, an emptyDir at /tmp), or "
            "name one with TMPDIR",
        ) from None


def check_for_children() -> None:
    """Refuse to start a worker where it could have no child processes.

    Raises:
        InvalidSettings: there is no folder for temporary files, or no semaphore can be made.
    """
    import multiprocessing  # start-up time: only what starts a worker comes here

    temporary_folder()
    try:
        multiprocessing.Lock()
    except (OSError, ImportError) as error:
        raise InvalidSettings(
            f"no semaphore can be made, which child processes need: {getattr(error, 'strerror', None) or error}",
            hint="mount a /dev/shm that can be written to (docker run --tmpfs /dev/shm; in Kubernetes, an emptyDir in "
            "memory), or start the worker with --pool solo",
        ) from None
