"""Connections to RabbitMQ, through py-amqp, as in Kombu."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from amqp import Connection
from amqp.exceptions import AccessRefused, AMQPError, NotAllowed

from runner.delivery.amqp.frames import read_frames
from runner.delivery.amqp.permissions import permission_command
from runner.errors import InvalidSettings, Unavailable
from runner.settings import Settings
from runner.settings.broker_url import BrokerAddress, read_brokers

CONNECT_SECONDS = 5.0
"""Timeout of connecting, and of each answer (seconds)."""

FAILURES = (AMQPError, OSError)
"""The exceptions that py-amqp raises when a connection or a channel fails."""

LEAST_SHARE = 0.1
"""The minimum timeout of each server (seconds), even if the total time has passed."""

_answered: dict[str, BrokerAddress] = {}
"""The server that answered last, by ``broker_url``."""

TCP_USER_TIMEOUT_MS = 20_000
"""How long sent bytes may stay unacknowledged before the kernel drops the connection."""


def tls_options(address: BrokerAddress) -> dict[str, Any] | bool:
    """Return the TLS options in the form that py-amqp takes."""
    if address.tls is None:
        return False
    tls = dict(address.tls)
    checks = tls.pop("verify", True)
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if checks else ssl.CERT_NONE, **tls}
    if checks:
        # Without a host name, py-amqp does not check it.
        options.setdefault("server_hostname", address.host)
    else:
        options.pop("server_hostname", None)
    return options


def open_connection(
    settings: Settings,
    *,
    seconds: float = CONNECT_SECONDS,
    heartbeat: float = 0.0,
    on_blocked: Callable[[str], None] | None = None,
    on_unblocked: Callable[[], None] | None = None,
) -> Connection:
    """Connect to the first server of ``broker_url`` that answers.

    The servers share the timeout, so one that does not answer leaves time for the others. The server that answered last
    is tried first.

    Args:
        settings: the settings of a project with RabbitMQ.
        seconds: the timeout of connecting, and of every later answer.
        heartbeat: interval in seconds; 0 if the owner does not read from the connection regularly.
        on_blocked: called when RabbitMQ stops accepting messages because memory or disk space is low.
        on_unblocked: called when it accepts messages again.

    Raises:
        Unavailable: no server answers, or the login is refused.
    """
    assert settings.broker_url is not None
    deadline = time.monotonic() + seconds
    addresses = _in_order(settings.broker_url)
    for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
        share = max(LEAST_SHARE, (deadline - time.monotonic()) / left)
        try:
            connection = _open(address, share, heartbeat, on_blocked, on_unblocked)
        except FAILURES as error:
            if left == 1:
                raise unavailable(settings, error, address) from error
        except (ssl.SSLError, ValueError) as error:  # a file that is not a certificate
            raise InvalidSettings(f"broker_url: {address.shown}: {error}", hint="correct the part after ?") from error
        else:
            _answered[settings.broker_url] = address
            # This bounds every wait for an answer, even where py-amqp waits without a timeout.
            connection.transport.sock.settimeout(seconds)
            return connection
    raise AssertionError


def _in_order(url: str) -> list[BrokerAddress]:
    """Return the addresses, with the server that answered last first."""
    last = _answered.get(url)
    return sorted(read_brokers(url), key=lambda address: address != last)


def _open(
    address: BrokerAddress,
    seconds: float,
    heartbeat: float,
    on_blocked: Callable[[str], None] | None,
    on_unblocked: Callable[[], None] | None,
) -> Connection:
    host = f"[{address.host}]" if ":" in address.host else address.host
    connection = Connection(
        host=f"{host}:{address.port}",
        userid=address.user,
        password=address.password,
        login_method="PLAIN",
        virtual_host=address.vhost,
        ssl=tls_options(address),
        connect_timeout=seconds,
        heartbeat=heartbeat,
        on_blocked=on_blocked,
        on_unblocked=on_unblocked,
        client_properties={"connection_name": f"runner@{socket.gethostname()}", "product": "runner"},
        socket_settings=_socket_settings(),
        frame_handler=read_frames,
    )
    try:
        connection.connect()
    except BaseException:
        connection.collect()
        raise
    return connection


def _socket_settings() -> dict[int, int]:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    return {option: TCP_USER_TIMEOUT_MS} if option is not None else {}


def unavailable(settings: Settings, error: BaseException, address: BrokerAddress | None = None) -> Unavailable:
    """Return the error for a failure of RabbitMQ, with passwords masked."""
    assert settings.broker_url is not None
    address = address or _in_order(settings.broker_url)[0]
    where = "RabbitMQ" if settings.hidden_broker_url else f"RabbitMQ at {address.shown}"
    if isinstance(error, AccessRefused):
        return Unavailable(
            f"{where} refuses user {address.user}: {message_of(error)}",
            hint=f"check user, password, and virtual host in broker_url; rabbitmqctl authenticate_user {address.user}",
        )
    if isinstance(error, NotAllowed):
        return Unavailable(
            f"{where} does not let user {address.user} use virtual host {address.vhost}: {message_of(error)}",
            hint=f"rabbitmqctl add_vhost {address.vhost}; {permission_command(settings, address)}",
        )
    return Unavailable(
        f"{where} cannot be reached: {message_of(error)}",
        hint="start RabbitMQ, or correct broker_url; runner doctor looks at it",
    )


def message_of(error: BaseException) -> str:
    """Return the message of an error of py-amqp or of a socket."""
    if isinstance(error, AMQPError):
        return str(error.reply_text or error).strip() or type(error).__name__
    if isinstance(error, TimeoutError):
        return "it does not answer"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)


@contextmanager
def asking(settings: Settings) -> Iterator[None]:
    """Convert exceptions of py-amqp in the block to the runner's errors.

    Raises:
        Unavailable: RabbitMQ cannot be reached, or refuses the request.
    """
    try:
        yield
    except FAILURES as error:
        raise unavailable(settings, error) from error


def close_quietly(connection: Connection | None) -> None:
    """Close a connection that may be broken."""
    if connection is None:
        return
    try:
        if connection.connected:
            # The server may no longer answer.
            connection.transport.sock.settimeout(1.0)
            connection.close()
    except (*FAILURES, AttributeError):
        pass
    finally:
        connection.collect()
