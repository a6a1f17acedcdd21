"""Fill in ``${…}`` in ``kwargs`` and ``env`` with the values of a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from runner.app.secret_sources import MissingSecret
from runner.model.job import JobSpec
from runner.model.template import Sources, Unset, as_text, expand
from runner.model.value_path import NoValue
from runner.params.placement import UnsafeValue, fill_in


class ParamsRefused(Exception):
    """The params of a run do not match this worker's spec."""


def expand_kwargs(job: JobSpec, sources: Sources, target: object = None) -> dict[str, Any]:
    """Return a copy of the job's fixed keyword arguments with placeholders filled in.

    Args:
        job: the job.
        sources: the values of placeholders.
        target: the callable of the job; a stock task quotes some values.

    Raises:
        MissingSecret: the variable of an ``${env.NAME}`` is not set.
        ParamsRefused: a param has a value that is not permitted in its place, or a step has no such value.
    """
    return {name: _filled(f"kwargs.{name}", partial(fill_in, job, name, sources, target)) for name in job.kwargs}


def expand_env(job: JobSpec, sources: Sources) -> dict[str, str]:
    """Return the job's environment variables with placeholders filled in.

    Raises:
        MissingSecret: the variable of an ``${env.NAME}`` is not set.
        ParamsRefused: a param has a value that an environment variable cannot hold, or a step has no such value.
    """
    found = {}
    for name, value in job.env.items():
        text = as_text(_filled(f"env.{name}", partial(expand, value, sources.look_up)))
        try:
            held = "\0" not in text and os.fsencode(text) is not None
        except UnicodeEncodeError:
            held = False
        if not held:
            raise ParamsRefused(f"env.{name}: a param holds NUL or half a character, which no environment variable can")
        found[name] = text
    return found


def _filled(where: str, fill: Callable[[], Any]) -> Any:
    """Return a value with placeholders filled in; name its place in errors."""
    try:
        return fill()
    except Unset as unset:
        name = unset.args[0]
        raise MissingSecret(
            f"{where}: ${{env.{name}}}: the variable {name} is not set in the environment of the worker"
        ) from None
    except (NoValue, UnsafeValue) as error:
        raise ParamsRefused(f"{where}: {error}") from None
