"""Programs that a test needs and a laptop may lack."""

from __future__ import annotations

import os
import shutil

import pytest


def need(program: str, *folders: str) -> str:
    """Return the path of a program; skip the test where it is not installed, and fail in CI.

    Args:
        program: its name.
        folders: where it may stand beside ``PATH``.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", *folders])
    found = shutil.which(program, path=path)
    if found is None:
        message = f"{program} is not installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
