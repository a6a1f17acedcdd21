"""Examine RabbitMQ without changing it: its version, the hint queues, and the permissions of the user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

from amqp import Channel, Connection
from amqp.basic_message import Message
from amqp.exceptions import AccessRefused, ChannelError, NotFound

from runner._dataclass import dataclass
from runner.delivery.amqp.connection import asking, close_quietly, message_of, open_connection
from runner.delivery.amqp.permissions import permission_command
from runner.delivery.amqp.queues import queue_name
from runner.errors import InvalidSettings
from runner.ledger.inbox import INBOX
from runner.model.private_queue import is_private
from runner.settings import Settings

_ABSENT = "doctor.looks"
"""The name of a queue that does not exist, after the namespace."""


@dataclass(frozen=True, slots=True)
class HintQueue:
    """The state of a hint queue."""

    name: str
    hints: int | None = None
    """None if the queue does not exist."""
    consumers: int = 0
    differs: str = ""
    """RabbitMQ's message about arguments that differ from the runner's."""
    refused: str = ""
    """The reason why it cannot be used."""


@dataclass(frozen=True, slots=True)
class Broker:
    """The state of RabbitMQ at the time of the examination."""

    version: str
    queues: Mapping[str, HintQueue] = field(default_factory=dict)
    """Hint queues by the queue of runs."""
    missing: tuple[str, ...] = ()
    """Missing permissions, such as ``configure runner.default``."""


def examine(settings: Settings, queues: Iterable[str], *, thoroughly: bool = False) -> Broker:
    """Return the state of RabbitMQ and of the hint queues for some queues of runs.

    Args:
        settings: the settings of a project with RabbitMQ.
        queues: the queues of runs.
        thoroughly: also check the queue arguments and the permissions.

    Raises:
        Unavailable: it cannot be reached, or the login is refused.
    """
    connection = open_connection(settings)
    try:
        with asking(settings):
            named = {queue: queue_name(settings.namespace, queue) for queue in queues}
            found = {queue: _look(connection, name, thoroughly=thoroughly) for queue, name in named.items()}
            missing = tuple(_missing(connection, settings.namespace, list(found.values()))) if thoroughly else ()
            properties = connection.server_properties
            return Broker(f"{properties.get('product', 'broker')} {properties.get('version', '?')}", found, missing)
    finally:
        close_quietly(connection)


def _look(connection: Connection, name: str, *, thoroughly: bool) -> HintQueue:
    try:
        seen = _on_channel(connection, lambda channel: channel.queue_declare(name, passive=True))
    except NotFound:
        return HintQueue(name)
    except ChannelError as error:
        return HintQueue(name, refused=message_of(error))
    differs = ""
    if thoroughly:
        try:
            # The queue exists, so this only lets RabbitMQ compare the arguments.
            _on_channel(connection, lambda channel: channel.queue_declare(name, durable=True, auto_delete=False))
        except AccessRefused:
            pass  # reported with the permissions
        except ChannelError as error:
            differs = message_of(error)
    return HintQueue(name, int(seen.message_count), int(seen.consumer_count), differs)


def refuse_missing_permissions(settings: Settings, queues: Iterable[str]) -> None:
    """Raise an error if the user of ``broker_url`` lacks a permission.

    Raises:
        InvalidSettings: a permission is missing. The message lists all of them and the command that grants them.
        Unavailable: RabbitMQ cannot be reached.
    """
    missing = examine(settings, [queue for queue in queues if not is_private(queue)], thoroughly=True).missing
    if missing:
        lacking = ", ".join(missing)
        raise InvalidSettings(f"the user of broker_url lacks permissions: {lacking}", hint=permission_command(settings))


def _missing(connection: Connection, namespace: str, queues: Sequence[HintQueue]) -> list[str]:
    """Return the missing permissions, tested with names in use and with a name that does not exist.

    RabbitMQ checks the permission before it looks for the queue, so nothing is created. Queues that an administrator
    has declared need no permission to declare them.
    """
    hints = [queue.name for queue in queues]
    inbox = _look(connection, INBOX, thoroughly=False)
    made = [queue.name for queue in (*queues, inbox) if queue.hints is None and not queue.refused]
    boxes = [f"{_ABSENT}.{mailbox}.pidbox" for mailbox in (namespace, INBOX)]
    return [
        *(f"configure {name}" for name in (*made, *boxes) if _refuses(connection, name, _configure)),
        *(f"write {name}" for name in ("amq.default", *boxes) if _refuses(connection, name, _write)),
        *(f"read {name}" for name in (*hints, INBOX, *boxes) if _refuses(connection, name, _read)),
    ]


def _configure(channel: Channel, name: str) -> None:
    # The queue does not exist, so nothing is deleted.
    channel.queue_delete(name, if_unused=True, if_empty=True)


def _write(channel: Channel, name: str) -> None:
    if name == "amq.default":
        channel.confirm_select()
        channel.basic_publish_confirm(Message(b""), routing_key=f"{_ABSENT}.nobody", confirm_timeout=5.0)
    else:
        channel.queue_bind(name, exchange="amq.direct")


def _read(channel: Channel, name: str) -> None:
    # RabbitMQ refuses the invalid priority only after it has checked the permission.
    channel.basic_consume(name, arguments={"x-priority": "none"})


def _refuses(connection: Connection, name: str, ask: Callable[[Channel, str], None]) -> bool:
    try:
        _on_channel(connection, lambda channel: ask(channel, name))
    except AccessRefused as error:
        return f"'{name}'" in message_of(error) or "amq" in name
    except (ChannelError, TimeoutError):
        return False  # missing queues and arguments that differ are reported elsewhere
    return False


def _on_channel(connection: Connection, ask: Callable[[Channel], Any]) -> Any:
    """Use a separate channel: RabbitMQ closes it when it refuses a request, and py-amqp opens it again."""
    channel = connection.channel()
    try:
        return ask(channel)
    finally:
        channel.close()
