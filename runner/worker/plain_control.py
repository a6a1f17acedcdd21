"""Answer remote control of plain Celery clients, which do not know the namespace.

This is a second mailbox next to Celery's own, with the default names of a Celery app. All projects on one Redis receive
its commands. So it only answers read-only commands and revokes runs in the ledger, even if ``worker.remote_control`` is
``full``.
"""

from __future__ import annotations

from collections.abc import Mapping

from celery import bootsteps
from celery.worker.consumer.control import Control
from celery.worker.pidbox import Pidbox
from kombu import Queue
from kombu.pidbox import Mailbox

from runner.app.commands import ASKED_IN_PASSING
from runner.delivery.transport import PlainChannel
from runner.ledger.inbox import PLAIN_CONTROL
from runner.worker.celery_types import Consumer, Node
from runner.worker.remote_control import plain_commands


class PlainMailbox(Mailbox):
    """The mailbox of plain clients. Projects share it, and each worker has its own queue."""

    def __init__(self, consumer: Consumer) -> None:
        self.project = consumer.app.conf.control_exchange
        super().__init__(PLAIN_CONTROL, type="fanout", accept=["json"], serializer="json", clock=consumer.app.clock)

    def get_queue(self, hostname: str) -> Queue:
        """Return the queue of a worker. Workers of two projects on one host may have the same name."""
        return super().get_queue(f"{hostname}.{self.project}")


class PlainPidbox(Pidbox):
    """The mailbox of a worker for plain clients."""

    node: Node

    def __init__(self, consumer: Consumer) -> None:
        super().__init__(consumer)
        mailbox = PlainMailbox(consumer)
        self.node = mailbox.Node(consumer.hostname, handlers=plain_commands(), state=self.node.state)

    def on_message(self, body: object, message: object) -> None:
        """Answer a command; ignore messages between workers of other Celery apps."""
        method = body.get("method") if isinstance(body, Mapping) else None
        if isinstance(method, str) and method in ASKED_IN_PASSING:
            return
        super().on_message(body, message)


class RedisPlainPidbox(PlainPidbox):
    """The mailbox of a worker if Redis is the broker."""

    _own: Pidbox | None = None
    """The mailbox of the project, created by Celery."""

    def reset(self) -> None:
        """Restart both mailboxes, because their shared channel is closed."""
        self.stop(self.c)
        self._reset_own()
        self.start(self.c)

    def start(self, c: Consumer) -> None:
        """Listen on the channel of the project's mailbox and answer on another, so that one connection subscribes."""
        own = c.blueprint[Control.name].box
        if own is not self._own:
            self._own, self._reset_own = own, own.reset
            own.reset = self.reset
        transport = c.connection.transport
        self.node.channel = PlainChannel(transport)
        transport.channels.append(self.node.channel)
        self.consumer = self.node.listen(channel=own.node.channel, callback=self.on_message)
        self.consumer.on_decode_error = c.on_decode_error


class PlainControl(bootsteps.StartStopStep):
    """Starts and stops the mailbox for plain clients."""

    requires = (Control,)

    def include_if(self, consumer: Consumer) -> bool:
        """Return False with ``worker.remote_control: none``, and if the project's mailbox has the same name."""
        conf = consumer.app.conf
        return bool(conf.worker_enable_remote_control) and conf.control_exchange != PLAIN_CONTROL

    def __init__(self, consumer: Consumer, **kwargs: object) -> None:
        super().__init__(consumer, **kwargs)
        box = (PlainPidbox if consumer.app.runner_settings.on_amqp else RedisPlainPidbox)(consumer)
        self.start, self.stop, self.shutdown = box.start, box.stop, box.shutdown
