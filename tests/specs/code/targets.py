"""What the jobs beside this file run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from celery import shared_task


class Broken(Exception):
    pass


NOT_CALLABLE = 3


def report(day: str, region: Literal["eu", "us"] = "eu", limit: int | None = None, *, rate: float = 1.0) -> None: ...


def anything(*args: Any, **kwargs: Any) -> None: ...


def by_position(first, second, /, third=None) -> None: ...


def lists(items: list[int], names: dict[str, str] | None = None, plain: Annotated[bool, "x"] = False) -> None: ...


def unknown_types(path: NotThere, other: complex = 1j, rest: Mapping = {}) -> None: ...  # noqa: F821


async def coroutine() -> None: ...


def generator():
    yield 1


async def async_generator():
    yield 1


def decorator(function):
    @functools.wraps(function)
    def around(*args, **kwargs):
        return function(*args, **kwargs)

    return around


decorated_generator = decorator(decorator(generator))
partial_generator = functools.partial(functools.partial(generator))
partial_of_decorated = functools.partial(decorator(async_generator))
partial_coroutine = functools.partial(decorator(coroutine))
context = contextlib.contextmanager(generator)


class Generates:
    def __call__(self):
        yield 1

    def method(self):
        yield 1

    @classmethod
    def of_class(cls):
        yield 1


class Waits:
    async def __call__(self) -> None: ...


GENERATES = Generates()
WAITS = Waits()


@shared_task
def shared_generator():
    yield 1


class Callable:
    def __init__(self, size: int) -> None: ...


partial = functools.partial(report, "2026-01-01")


@shared_task(bind=True)
def bound(self, size: int) -> None: ...


@functools.wraps(report)
def wrapped(*args, **kwargs) -> None: ...
