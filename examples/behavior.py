"""Jobs that show what a run can do: fail and be retried, or take a while and report its progress."""

from __future__ import annotations

import math
import time

from runner import current_run

STEP_SECONDS = 0.5


def flaky(failures: int = 2) -> str:
    """Fail in the first ``failures`` attempts, like a call to a service that is restarting."""
    attempt = current_run().attempt
    if attempt <= failures:
        raise ConnectionError(f"attempt {attempt}: the service is not there yet")
    return f"attempt {attempt} went through"


def slow_count(seconds: float = 10.0) -> dict[str, int]:
    """Count for ``seconds``, and report the progress about every half second."""
    steps = max(1, math.ceil(seconds / STEP_SECONDS))
    for step in range(1, steps + 1):
        time.sleep(seconds / steps)
        current_run().progress(step / steps, f"{step} of {steps}")
    return {"counted_to": steps}
