"""The permissions that the user of ``broker_url`` needs, and the command that grants them."""

from __future__ import annotations

from runner.ledger.inbox import INBOX
from runner.settings import Settings
from runner.settings.broker_url import BrokerAddress, read_brokers


def permission_pattern(namespace: str) -> str:
    """Return the regular expression for all names that workers and clients configure, write, and read."""
    name = namespace.replace(".", r"\.")
    return rf"^({name}\..*|{INBOX}|(.*\.)?({name}|{INBOX})\.pidbox|amq\.default)$"


def permission_command(settings: Settings, address: BrokerAddress | None = None) -> str:
    """Return the administrator's command that grants the user of ``broker_url`` the permissions that the runner needs.

    Args:
        settings: the settings of a project with RabbitMQ.
        address: the server; the first by default.
    """
    assert settings.broker_url is not None
    address = address or read_brokers(settings.broker_url)[0]
    pattern = permission_pattern(settings.namespace)
    user = "USER" if settings.hidden_broker_url else address.user
    vhost = "VHOST" if settings.hidden_broker_url else address.vhost
    return f"rabbitmqctl set_permissions -p {vhost} {user} '{pattern}' '{pattern}' '{pattern}'"
