"""Warn about options that are valid but probably not meant (``runner validate``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from runner.authoring.signature import Fault
from runner.catalog.hooks import PARAM as HOOK_PARAM
from runner.model.duration import format_duration
from runner.model.job import JobSpec
from runner.model.step import Step
from runner.model.template import placeholders
from runner.params.placement import admitted, shown_secrets
from runner.yaml_reader.problem import show_path

_ROOTS = ("run", "params", "env")


def advice_for(job: JobSpec) -> Iterator[Fault]:
    """Yield a warning for each option that does not do what it seems to say."""
    if job.is_flow:
        # Advice about tasks is given for its steps.
        yield from _unused_params(job)
        return
    retry = job.retry
    if retry.max_retries and retry.delay > retry.max_delay:
        delay, most = format_duration(retry.delay), format_duration(retry.max_delay)
        yield _warning(("retry", "delay"), f"no delay is longer than max_delay, {most}: write max_delay: {delay} too")
    if job.unsafe and (job.step is None or admitted(job)):
        yield _warning(("unsafe",), _what_unsafe_admits(job), on_key=True)
    for shown in shown_secrets(job):
        yield _warning(shown.path, shown.message)
    if (pair := _split_tuple(job.args)) is not None:
        message = (
            f"{pair} are two texts, since YAML has no tuples: write a list in brackets, or quote a text with a comma"
        )
        yield _warning(("args",), message)
    for path, name in placeholders(list(job.args)):
        if name.partition(".")[0] not in _ROOTS:
            continue  # perhaps shell syntax
        yield _warning(("args", *path), f"${{{name}}} stays as it is here: give it by name, under kwargs")


def _unused_params(job: JobSpec) -> Iterator[Fault]:
    keys = [limit.key for limit in (job.concurrency, job.rate) if limit is not None]
    written = [keys, *(_templates(step) for step in job.steps.values())]
    used = {name.partition(".")[2] for _, name in placeholders(written)}
    for name in job.params:
        # A hook job must accept the run, needed or not.
        if name not in used and name != HOOK_PARAM:
            message = f"no step uses it: write ${{params.{name}}} in the step that needs it"
            yield _warning(("params", name), message, on_key=True)


def _templates(step: Step) -> list[Any]:
    return [step.kwargs, step.env, step.if_, step.each, step.params]


def _split_tuple(args: tuple[object, ...]) -> str | None:
    """Return the parts of a tuple as YAML reads it: ``[(1, 2)]`` is a list of ``"(1"`` and ``"2)"``."""
    texts = [arg if isinstance(arg, str) else "" for arg in args]
    start = next((at for at, text in enumerate(texts) if text.startswith("(") and ")" not in text), len(texts))
    end = next((at for at, text in enumerate(texts) if at > start and text.endswith(")") and "(" not in text), None)
    return None if end is None else f'"{texts[start]}" and "{texts[end]}"'


def _what_unsafe_admits(job: JobSpec) -> str:
    found = [f"{show_path(finding.path)}: {finding.why}" for finding in admitted(job)]
    if not found:
        return "nothing in this job needs it, remove it"
    return "whoever may submit this job can make it run something else: " + "; ".join(found)


def _warning(path: tuple[str | int, ...], message: str, *, on_key: bool = False) -> Fault:
    return Fault(path, message, on_key, "warning")
