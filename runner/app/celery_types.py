"""Types for the parts of Celery and Kombu that are used here, because they have none. ``Any`` ends in this module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from runner.model.job import JobSpec

JsonObject = dict[str, Any]
"""A JSON object: messages between processes of a worker, and answers of remote control."""

Tracer = Callable[[str, tuple[()], JsonObject, JsonObject], tuple[Any, Any, float, str]]
"""Celery's tracer of a task: takes the run's id, arguments, and request; returns result, info, seconds, and text."""


class DeclaredTask(Protocol):
    """The task of a job: see ``runner.attempt.job_task``."""

    name: str
    job: JobSpec
    broken: str | None
    loaded_at: float | None
    soft_time_limit: float | None
    time_limit: float | None

    @property
    def tracer(self) -> Tracer: ...

    def prepare(self) -> str | None: ...

    def retryable(self, error: BaseException) -> bool: ...


class Request(Protocol):
    """Celery's description of an attempt: ``self.request`` of a task."""

    id: str


class Claiming(Protocol):
    """The channel of a message from the inbox: see ``runner.delivery.transport``."""

    @property
    def qos(self) -> LettingGo: ...

    def bury(self, token: str, raw: bytes, why: str) -> None: ...

    def hand_back_waiting(self, tokens: list[str]) -> None: ...


class LettingGo(Protocol):
    """The state of such a channel."""

    def let_go(self, delivery_tag: str) -> None: ...


class PlainMessage(Protocol):
    """A message of a plain Celery client, whose envelope was checked."""

    @property
    def headers(self) -> Mapping[str, Any]: ...

    def decode(self) -> Any: ...


class Message(PlainMessage, Protocol):
    """Kombu's message on Redis."""

    body: object
    delivery_tag: str
    channel: Claiming

    def ack(self) -> None: ...

    def requeue(self) -> None: ...
