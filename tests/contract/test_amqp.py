"""The parts of Celery, Kombu, and py-amqp that work with RabbitMQ needs. An upgrade that changes one fails here."""

from __future__ import annotations

import inspect

import amqp
import celery.worker.consumer.consumer
import celery.worker.consumer.tasks
import kombu
import kombu.pidbox
from amqp.exceptions import AccessRefused, ChannelError, ConsumerCancelled, NotAllowed, NotFound
from kombu.transport import pyamqp


def parameters(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_transport_is_asked_for_its_kind_of_prefetch_count() -> None:
    assert parameters(pyamqp.Transport.qos_semantics_matches_spec) == ["self", "connection"]
    source = inspect.getsource(celery.worker.consumer.tasks.Tasks.qos_global)
    assert "not c.connection.qos_semantics_matches_spec" in source


def test_consumers_declare_their_queues_by_this_method() -> None:
    assert parameters(kombu.Queue.declare) == ["self", "nowait", "channel"]
    assert "queue.declare()" in inspect.getsource(kombu.Consumer.declare)


def test_a_mailbox_names_the_queue_of_a_node_here() -> None:
    assert parameters(kombu.pidbox.Mailbox.get_queue) == ["self", "hostname"]
    assert "mailbox.get_queue(self.hostname)" in inspect.getsource(kombu.pidbox.Node.Consumer)
    assert inspect.signature(kombu.pidbox.Mailbox.__init__).parameters["queue_exclusive"].default is True


def test_the_consumer_waits_for_its_broker_with_a_callback() -> None:
    source = inspect.getsource(celery.worker.consumer.consumer.Consumer.ensure_connected)
    assert "conn.ensure_connection(" in source
    assert "callback=maybe_shutdown" in source


def test_channels_tell_of_confirms_and_returns_by_events() -> None:
    for name, method in (
        ("basic_ack", "_on_basic_ack"),
        ("basic_nack", "_on_basic_nack"),
        ("basic_return", "_on_basic_return"),
    ):
        assert f"'{name}'" in inspect.getsource(getattr(amqp.Channel, method))
    assert parameters(amqp.Channel.basic_consume)[1:] == [
        *("queue", "consumer_tag", "no_local", "no_ack", "exclusive", "nowait", "callback", "arguments"),
        *("on_cancel", "argsig"),
    ]
    # A queue that is deleted ends the connection, and with it the wait.
    assert issubclass(ConsumerCancelled, amqp.AMQPError)


def test_refusals_are_errors_of_the_channel() -> None:
    for error in (AccessRefused, NotFound):
        assert issubclass(error, ChannelError)
    assert issubclass(NotAllowed, amqp.AMQPError)
