"""Programs that a test needs and a laptop may lack."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, *folders: str) -> str:
    """Return the path of a program; if it is not installed, skip the test, or fail in CI.

    Args:
        program: the name of the program.
        folders: folders to search in addition to ``PATH``.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *folders])
    found = shutil.which(program, path=path)
    if found is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
