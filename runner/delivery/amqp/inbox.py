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
    """The inbox. An existing queue is used as it is, whatever arguments a client declared it with."""

    def declare(self, nowait: bool = False, channel: Any = None) -> str:
        """Declare the queue unless it exists.

        Raises:
            Unavailable: this user may not declare it.
        """
        connection = (channel or self.channel).connection
        # A separate channel, because RabbitMQ closes it when the queue is missing or the request is refused.
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
    """Return the inbox as a Celery app without queue settings declares it."""
    return InboxQueue(INBOX, Exchange(INBOX, type="direct"), routing_key=INBOX)


class PlainMessage:
    """A message of a plain client, in the form that :mod:`runner.app.adopt` reads."""

    def __init__(self, envelope: Mapping[str, Any]) -> None:
        self.headers: dict[str, Any] = envelope["headers"]
        self._body = envelope["body"]

    def decode(self) -> Any:
        """Return the positional arguments, keyword arguments, and links, after checking their types."""
        return json.loads(b64decode(self._body))


def read_plain(message: Any) -> PlainMessage:
    """Return the content of a Kombu message, with the same checks as on Redis.

    Raises:
        UnreadableError: it does not have the form of a plain client's message.
    """
    try:
        letter = write_letter(message)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnreadableError(f"its headers cannot be written as JSON: {error}") from error
    return PlainMessage(read_envelope(letter, str(message.delivery_tag)))


def write_letter(message: Any) -> bytes:
    """Return a Kombu message in the form that it would have on Redis.

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
    """Return the body of a Kombu message as it was sent."""
    body = message.body
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    return str(body).encode("utf-8", "surrogatepass")
