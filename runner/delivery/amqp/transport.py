"""Kombu's transport for RabbitMQ, adapted for a worker's Celery consumer and remote control."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kombu.transport import pyamqp

from runner.delivery.amqp.connection import tls_options
from runner.delivery.amqp.frames import read_frames
from runner.settings.broker_url import BrokerAddress


class Message(pyamqp.Message):
    """Kombu's message with its body as it was sent: a small body may decompress to more than memory can hold."""

    def __init__(self, msg: Any, channel: Any = None, **options: Any) -> None:
        headers = msg.properties.pop("application_headers", None)
        super().__init__(msg, channel, **options)
        self.headers = headers or {}


class Channel(pyamqp.Channel):
    """Kombu's channel, without decoding bodies by the codec that a message names."""

    Message = Message

    def __init__(self, connection: Any, channel_id: int | None = None, on_open: Any = None) -> None:
        super().__init__(connection, channel_id, auto_decode=False, on_open=on_open)


class Connection(pyamqp.Connection):
    """Kombu's connection, which survives every message.

    Args:
        tls: the TLS options of each server, by position. Kombu has one ``ssl`` for all servers.
    """

    Channel = Channel

    def __init__(self, host: str, *, tls: Mapping[str, dict[str, Any] | bool], **options: Any) -> None:
        super().__init__(host, frame_handler=read_frames, **{**options, "ssl": tls.get(host, options.get("ssl"))})


class Transport(pyamqp.Transport):
    """Kombu's transport with a prefetch count per consumer, the only kind in quorum queues and newer servers."""

    Connection = Connection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:  # noqa: ARG002 - Kombu's signature
        """Return True: no global prefetch count is set."""
        return True


def options_for(addresses: Iterable[BrokerAddress]) -> dict[str, Any]:
    """Return Celery's ``broker_transport_options`` for these servers."""
    return {"tls": {_key_of(address): tls_options(address) for address in addresses}}


def _key_of(address: BrokerAddress) -> str:
    """Return the key of a server: the host and port that Kombu passes to py-amqp."""
    host = "127.0.0.1" if address.host == "localhost" else address.host
    return f"{host}:{address.port}"
