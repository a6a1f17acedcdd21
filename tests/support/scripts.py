"""Scripts that a test runs in a project, like a program of its owner."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.support.project import Project, clean_environment


def python(project: Project, *words: str) -> Any:
    """Run Python code in the project; return the last line of its output, parsed as JSON."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=project.path,
        env=clean_environment(project.environment),
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip().endswith(("}", "]")) else None
