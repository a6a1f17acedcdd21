"""The queue ``celery`` in RabbitMQ, to which plain Celery clients publish."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

from amqp.exceptions import AccessRefused, NotFound
from kombu import Exchange, Queue

from runner.delivery.envelope import UnreadableError, read_envelope
from runner.errors import Unavailable
from runner.ledger.inbox import INBOX


class InboxQueue(Queue):
    """The inbox. One that is there is used as it is, whatever arguments a client has declared it with."""

    def declare(self, nowait: bool = False, channel: Any = None) -> str:
        """Declare the queue, unless it is there.

        Raises:
            Unavailable: this user may not.
        """
        connection = (channel or self.channel).connection
        # A channel of its own: where something is missing or refused, RabbitMQ closes it.
        look = connection.channel()
        try:
            look.queue_declare(self.name, passive=True)
        except NotFound:
            try:
                return str(super().declare(nowait=nowait, channel=channel))
            except AccessRefused as error:
                raise Unavailable(f"RabbitMQ refuses to declare queue {self.name}: {error.reply_text}") from error
        look.close()
        return str(self.name)


def inbox() -> InboxQueue:
    """Return the inbox, as a Celery app declares it that says nothing of queues."""
    return InboxQueue(INBOX, Exchange(INBOX, type="direct"), routing_key=INBOX)


class PlainMessage:
    """A message of a plain client, as :mod:`runner.app.adopt` reads it."""

    def __init__(self, envelope: Mapping[str, Any]) -> None:
        self.headers: dict[str, Any] = envelope["headers"]
        self._body = envelope["body"]

    def decode(self) -> Any:
        """Return positional arguments, keyword arguments, and links, whose types are checked."""
        return json.loads(b64decode(self._body))


def read_plain(message: Any) -> PlainMessage:
    """Return what Kombu's message says, checked as on Redis.

    Raises:
        UnreadableError: it is not what a plain client writes.
    """
    try:
        letter = write_letter(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableError(f"its headers cannot be written as JSON: {error}") from error
    return PlainMessage(read_envelope(letter, str(message.delivery_tag)))


def write_letter(message: Any) -> bytes:
    """Return a message of Kombu in the form that it would have on Redis.

    Raises:
        TypeError, ValueError, RecursionError: its headers cannot be written as JSON.
    """
    properties = {name: value for name, value in dict(message.properties).items() if name != "application_headers"}
    letter = {
        "headers": dict(message.headers or {}),
        "content-type": message.content_type,
        "content-encoding": (message.content_encoding or "utf-8").lower(),
        "properties": {**properties, "body_encoding": "base64"},
        "body": b64encode(raw_body(message)).decode(),
    }
    return json.dumps(letter, default=str).encode()


def raw_body(message: Any) -> bytes:
    """Return the body of a message of Kombu as it was sent."""
    body = message.body
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    return str(body).encode("utf-8", "surrogatepass")
