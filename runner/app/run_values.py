"""What a run brings to its job: ``${…}`` in ``kwargs`` and ``env`` filled in, and the environment set."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from runner.app.secret_values import MissingSecret
from runner.model.job import JobSpec
from runner.model.template import Sources, Unset, as_text, expand


class ParamsRefused(Exception):
    """The params of a run do not fit what this worker's spec declares."""


def expand_kwargs(job: JobSpec, sources: Sources) -> dict[str, Any]:
    """Return a copy of the job's fixed keyword arguments, filled in.

    Raises:
        MissingSecret: a variable that ``${env.NAME}`` names is not set.
    """
    return {name: _expand(value, sources, f"kwargs.{name}") for name, value in job.kwargs.items()}


def expand_env(job: JobSpec, sources: Sources) -> dict[str, str]:
    """Return the job's environment variables, filled in.

    Raises:
        MissingSecret: a variable that ``${env.NAME}`` names is not set.
        ParamsRefused: a param gives a text that no environment variable can hold.
    """
    found = {}
    for name, value in job.env.items():
        text = as_text(_expand(value, sources, f"env.{name}"))
        try:
            held = "\0" not in text and os.fsencode(text) is not None
        except UnicodeEncodeError:
            held = False
        if not held:
            raise ParamsRefused(f"env.{name}: a param holds NUL or half a character, which no environment variable can")
        found[name] = text
    return found


def _expand(value: Any, sources: Sources, where: str) -> Any:
    try:
        return expand(value, sources.look_up)
    except Unset as unset:
        name = unset.args[0]
        raise MissingSecret(
            f"{where}: ${{env.{name}}}: the variable {name} is not set in the environment of the worker"
        ) from None


@contextmanager
def environment(env: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the duration of a run."""
    before = {name: os.environ.get(name) for name in env}
    try:
        # Inside: a soft timeout may come at any point, and nothing may stay for the next run.
        os.environ.update(env)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
