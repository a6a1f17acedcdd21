"""The REST API under schemathesis: nothing ends in a 5xx, what is wrong is refused, answers are as described."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.web.conftest import Web

pytestmark = pytest.mark.long

STREAMS = "/(events|stream)$"


def test_nothing_that_is_sent_breaks_it(web: Web, tmp_path: Path) -> None:
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{web.url}/api/v1/openapi.json"),
        # A schema can say what a time looks like, and not that it is one.
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
        # Those answer without end.
        *("--exclude-path-regex", STREAMS),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "6", "--seed", "7", "--no-color"),
        *("--request-timeout", "30", "--suppress-health-check", "all", "--generation-database", "none"),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
