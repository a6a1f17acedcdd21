"""The hint queues in RabbitMQ: one for each queue of runs, named ``NAMESPACE.QUEUE``."""

from __future__ import annotations

from typing import NamedTuple

from amqp import Channel, Connection
from amqp.exceptions import AccessRefused, ChannelError, NotFound

from runner.delivery.amqp.connection import asking, message_of
from runner.delivery.amqp.permissions import permission_command
from runner.errors import Unavailable
from runner.settings import Settings


class NoQueue(Unavailable):
    """A hint queue cannot be declared, or this user may not use it."""

    code = "no_queue"


class Waiting(NamedTuple):
    """The numbers of waiting hints and of consumers of a hint queue."""

    hints: int
    consumers: int


def queue_name(namespace: str, queue: str) -> str:
    """Return the name of the hint queue for a queue of runs."""
    return f"{namespace}.{queue}"


def declare(connection: Connection, settings: Settings, queue: str) -> None:
    """Declare the hint queue for a queue of runs. An existing queue is used as it is, whatever its arguments.

    Raises:
        NoQueue: this user may not declare it.
        amqp.AMQPError, OSError: the connection fails.
    """
    if count(connection, settings, queue) is not None:
        return
    name = queue_name(settings.namespace, queue)
    channel: Channel = connection.channel()
    try:
        channel.queue_declare(name, durable=True, exclusive=False, auto_delete=False)
        channel.close()
    except AccessRefused as error:
        raise no_permission(settings, queue, error) from error
    except ChannelError as error:
        # Another client has declared it meanwhile, with other arguments.
        if count(connection, settings, queue) is None:
            raise NoQueue(f"RabbitMQ refuses to declare queue {name}: {message_of(error)}") from error


def count(connection: Connection, settings: Settings, queue: str) -> Waiting | None:
    """Return the state of the hint queue for a queue of runs; None if it does not exist.

    Raises:
        NoQueue: this user may not read it, or another connection uses it exclusively.
        amqp.AMQPError, OSError: the connection fails.
    """
    channel: Channel = connection.channel()
    try:
        found = channel.queue_declare(queue_name(settings.namespace, queue), passive=True)
        channel.close()
    except NotFound:
        return None
    except ChannelError as error:
        raise no_permission(settings, queue, error) from error
    return Waiting(int(found.message_count), int(found.consumer_count))


def count_all(connection: Connection, settings: Settings, queues: list[str]) -> dict[str, Waiting | None]:
    """Return the results of :func:`count` for several queues.

    Raises:
        Unavailable: RabbitMQ cannot be reached, or refuses the request.
    """
    with asking(settings):
        return {queue: count(connection, settings, queue) for queue in queues}


def no_permission(settings: Settings, queue: str, error: BaseException) -> NoQueue:
    """Return the error for a hint queue that this user may not declare or use, with the command that permits it."""
    name = queue_name(settings.namespace, queue)
    return NoQueue(
        f"RabbitMQ refuses queue {name}: {message_of(error)}",
        hint=f"let an administrator declare it (rabbitmqadmin declare queue name={name} durable=true), or allow it: "
        f"{permission_command(settings)}",
    )
