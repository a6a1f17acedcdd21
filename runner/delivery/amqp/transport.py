"""Kombu's transport for RabbitMQ, as a worker's Celery consumer and remote control use it."""

from __future__ import annotations

from typing import Any

from kombu.transport import pyamqp

from runner.delivery.amqp.frames import read_frames


class Message(pyamqp.Message):
    """Kombu's, whose body is as it was sent: a small one may decompress to more than fits into memory."""

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        headers = msg.properties.pop("application_headers", None)
        super().__init__(msg, channel, **options)
        self.headers = headers or {}


class Channel(pyamqp.Channel):
    """Kombu's, which does not decode bodies by the codec that a message names."""

    Message = Message

    def __init__(self, connection: Any, channel_id: int | None = None, on_open: Any = None) -> None:
        super().__init__(connection, channel_id, auto_decode=False, on_open=on_open)


class Connection(pyamqp.Connection):
    """Kombu's, which no message breaks."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, frame_handler=read_frames, **options)


class Transport(pyamqp.Transport):
    """Kombu's, with a prefetch count for each consumer: quorum queues and newer servers know no other."""

    Connection = Connection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:  # noqa: ARG002 - Kombu's signature
        """Return True: no global prefetch count is set."""
        return True
