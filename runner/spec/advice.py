"""What is sound in a job and hardly meant: warnings of ``runner validate``."""

from __future__ import annotations

from collections.abc import Iterator

from runner.model.duration import format_duration
from runner.model.job import JobSpec
from runner.model.template import placeholders
from runner.spec.signature import Fault

_ROOTS = ("run", "params", "env")


def advice_for(job: JobSpec) -> Iterator[Fault]:
    """Yield a warning for each option that does not do what its words seem to say."""
    retry = job.retry
    if retry.max_retries and retry.delay > retry.max_delay:
        delay, most = format_duration(retry.delay), format_duration(retry.max_delay)
        yield _warning(("retry", "delay"), f"no delay is longer than max_delay, {most}: write max_delay: {delay} too")
    if job.schedule:
        for name, param in job.params.items():
            if param.required:
                message = f"a scheduled run has no {name}, and ends in FAILURE, invalid_params: give it a default"
                yield _warning(("params", name), message, on_key=True)
    for path, name in placeholders(list(job.args)):
        if name.partition(".")[0] not in _ROOTS:
            continue  # what a shell means, perhaps
        yield _warning(("args", *path), f"${{{name}}} stays as it is here: give it by name, under kwargs")


def _warning(path: tuple[str | int, ...], message: str, *, on_key: bool = False) -> Fault:
    return Fault(path, message, on_key, "warning")
