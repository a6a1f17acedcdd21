"""Kombu's transport for RabbitMQ, as a worker's Celery consumer and remote control use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kombu.transport import pyamqp

from runner.delivery.amqp.connection import tls_options
from runner.delivery.amqp.frames import read_frames
from runner.settings.broker_url import BrokerAddress


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
    """Kombu's, which no message breaks.

    Args:
        tls: the options of TLS of each server, by its place. Kombu has one ``ssl`` for all of them.
    """

    Channel = Channel

    def __init__(self, host: str, *, tls: Mapping[str, dict[str, Any] | bool], **options: Any) -> None:
        super().__init__(host, frame_handler=read_frames, **{**options, "ssl": tls.get(host, options.get("ssl"))})


class Transport(pyamqp.Transport):
    """Kombu's, with a prefetch count for each consumer: quorum queues and newer servers know no other."""

    Connection = Connection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:  # noqa: ARG002 - Kombu's signature
        """Return True: no global prefetch count is set."""
        return True


def options_for(addresses: Iterable[BrokerAddress]) -> dict[str, Any]:
    """Return Celery's ``broker_transport_options`` for these servers."""
    return {"tls": {_place(each): tls_options(each) for each in addresses}}


def _place(address: BrokerAddress) -> str:
    """Return the place of a server as Kombu names it to py-amqp."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    return f"{host}:{address.port}"
