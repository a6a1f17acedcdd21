"""Types for the parts of Celery's worker that are used here, because Celery has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from runner.app.celery_types import Claiming, Message
from runner.app.factory import RunnerApp


class Hub(Protocol):
    """The main loop (Kombu's)."""

    def add_reader(self, descriptor: int, callback: Callable[..., None], *args: object) -> None: ...

    def remove_reader(self, descriptor: int) -> None: ...

    def call_later(self, delay: float, callback: Callable[..., None], *args: object) -> object: ...


class Timer(Protocol):
    """The timer of the main loop."""

    def call_repeatedly(self, seconds: float, callback: Callable[..., object], args: tuple[object, ...]) -> object: ...


class EventDispatcher(Protocol):
    """Sends Celery's events."""

    enabled: bool
    groups: Sequence[str]

    def send(self, kind: str, **fields: object) -> object: ...


class MessageConsumer(Protocol):
    """Consumes messages of plain clients (Kombu's)."""

    channel: Claiming

    def cancel(self) -> None: ...


class Autoscaler(Protocol):
    """Changes the number of takers (``--autoscale``)."""

    def maybe_scale(self) -> object: ...


class Node(Protocol):
    """A worker's end of a remote-control mailbox (Kombu's)."""

    channel: object
    state: object

    def listen(self, *, channel: object, callback: Callable[[object, object], None]) -> MailConsumer: ...


class MailConsumer(Protocol):
    """Consumes remote-control commands (Kombu's)."""

    on_decode_error: Callable[..., None]


class Connection(Protocol):
    """A connection to the broker (Kombu's)."""

    @property
    def transport(self) -> Transport: ...


class Transport(Protocol):
    """Kombu's transport."""

    channels: list[object]


class Controller(Protocol):
    """The worker program."""

    app: RunnerApp
    hostname: str


class Consumer(Protocol):
    """The part of a worker that has a connection to the broker."""

    app: RunnerApp
    blueprint: Any
    """The bootsteps by name (Celery's)."""
    controller: Controller
    hostname: str
    hub: Hub | None
    timer: Timer
    event_dispatcher: EventDispatcher | None
    task_consumer: MessageConsumer
    connection: Connection
    connection_errors: tuple[type[Exception], ...]

    def call_soon(self, callback: Callable[..., object], *args: object) -> object: ...

    def on_decode_error(self, message: Message, exc: BaseException) -> None: ...

    def add_task_queue(self, queue: str) -> None: ...

    def cancel_task_queue(self, queue: str) -> None: ...


class Panel(Protocol):
    """The first argument of a remote-control command."""

    app: RunnerApp
    consumer: Consumer
    hostname: str


def autoscaler_of(consumer: Consumer) -> Autoscaler | None:
    """Return the autoscaler of a worker, or None."""
    found: Autoscaler | None = getattr(consumer.controller, "autoscaler", None)
    return found
