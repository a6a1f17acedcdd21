"""Beside queues of runs and the inbox, our transport does what Kombu's own does: each case runs on both."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
from kombu import Connection, Exchange, Queue
from kombu.transport import redis as stock

from runner.delivery.queue_keys import queue_key_options
from runner.delivery.transport import INBOX_ARGUMENT, MARKED_ARGUMENT, MixedQueuesError, Transport
from runner.errors import Refused
from tests.support.servers import Server

Ours = dict[str, Any]


@pytest.fixture(params=["kombu", "ours", "ours in a namespace"])
def connect(request: pytest.FixtureRequest, redis_server: Server) -> Iterator[Callable[[], Connection]]:
    opened: list[Connection] = []
    options: Ours = {"visibility_timeout": 3600}
    if request.param == "ours in a namespace":
        namespace = f"t{uuid.uuid4().hex[:8]}"
        options |= {"namespace": namespace, **queue_key_options(namespace)}

    def make() -> Connection:
        ours = request.param != "kombu"
        url = redis_server.url if ours else redis_server.celery_url
        connection = Connection(url, transport=Transport if ours else None, transport_options=options)
        if ours:
            connection.hostname = url
        opened.append(connection)
        return connection

    yield make
    for connection in opened:
        connection.release()


@pytest.fixture
def queue() -> Queue:
    name = f"q{uuid.uuid4().hex[:8]}"
    return Queue(name, Exchange(name), routing_key=name)


def publish(connection: Connection, queue: Queue, *bodies: str, priority: int = 0) -> None:
    producer = connection.Producer()
    for body in bodies:
        producer.publish(
            body, exchange=queue.exchange, routing_key=queue.routing_key, declare=[queue], priority=priority
        )


def take(connection: Connection, queue: Queue, count: int) -> list[Any]:
    """Consume messages, and acknowledge none."""
    found: list[Any] = []
    channel = connection.channel()
    with connection.Consumer([queue], channel=channel, on_message=found.append):
        while len(found) < count:
            connection.drain_events(timeout=10)
    return found


def waiting(connection: Connection, queue: Queue) -> list[str]:
    """Take and acknowledge all that waits now; return the bodies."""
    bound, found = queue(connection.channel()), []
    while (message := bound.get()) is not None:
        found.append(message.decode())
        message.ack()
    return found


@pytest.mark.parametrize(
    ("act", "left"),
    [
        (lambda message: message.ack(), []),
        (lambda message: message.reject(), []),
        (lambda message: message.requeue(), ["one"]),
    ],
    ids=["ack", "reject", "requeue"],
)
def test_one_message(
    connect: Callable[[], Connection], queue: Queue, act: Callable[[Any], None], left: list[str]
) -> None:
    connection = connect()
    publish(connection, queue, "one")
    [message] = take(connection, queue, 1)
    act(message)
    assert waiting(connect(), queue) == left


@pytest.mark.parametrize("how", ["recover", "close", "lost"])
def test_what_was_not_acknowledged_is_there_again(connect: Callable[[], Connection], queue: Queue, how: str) -> None:
    connection = connect()
    publish(connection, queue, "one", "two", "three")
    messages = take(connection, queue, 3)
    messages[1].ack()
    channel = messages[0].channel
    if how == "recover":
        channel.basic_recover(requeue=True)
    elif how == "close":
        channel.close()
    else:
        # The socket breaks; Celery closes the connection then.
        channel.client.connection.disconnect()
        connection.close()
    assert sorted(waiting(connect(), queue)) == ["one", "three"]


def test_what_a_dead_process_held_is_restored_after_the_visibility_timeout(
    connect: Callable[[], Connection], queue: Queue
) -> None:
    connection = connect()
    publish(connection, queue, "one")
    [message] = take(connection, queue, 1)
    message.channel.do_restore = False
    message.channel.close()
    other = connect().channel()
    assert waiting(connect(), queue) == []
    queue(other).declare()
    other.visibility_timeout = -10
    other.unacked_restore_throttle = 1
    other.qos.restore_visible(interval=1)
    assert waiting(connect(), queue) == ["one"]


def test_priorities_sizes_and_purges(connect: Callable[[], Connection], queue: Queue) -> None:
    connection = connect()
    publish(connection, queue, "low", priority=9)
    publish(connection, queue, "high", priority=0)
    channel = connection.channel()
    assert queue(channel).queue_declare().message_count == 2
    assert waiting(connect(), queue) == ["high", "low"]
    publish(connection, queue, "again", "more")
    assert queue(channel).purge() == 2
    assert waiting(connect(), queue) == []


def test_keys_are_those_of_kombu_without_a_namespace() -> None:
    for part in ("unacked_key", "unacked_index_key", "keyprefix_queue", "priority_steps", "sep"):
        assert getattr(Transport.Channel, part) == getattr(stock.Channel, part)


@pytest.fixture
def runs(redis_server: Server) -> Iterator[Any]:
    connection = Connection(redis_server.url, transport=Transport, transport_options={"namespace": "t-mixed"})
    connection.hostname = redis_server.url
    yield connection.channel()
    connection.release()


def marked(name: str, argument: str = MARKED_ARGUMENT) -> Queue:
    return Queue(name, Exchange("t-mixed"), routing_key=name, queue_arguments={argument: True})


@pytest.mark.parametrize("inbox_first", [True, False])
def test_a_channel_takes_from_the_inbox_or_from_others(runs: Any, queue: Queue, inbox_first: bool) -> None:
    inbox = marked("a", INBOX_ARGUMENT)
    first, second = (inbox, queue) if inbox_first else (queue, inbox)
    for number, source in enumerate((first, second)):
        source(runs).declare()
        if number == 0:
            source(runs).consume("1", callback=print)
    with pytest.raises(MixedQueuesError, match="use another channel"):
        second(runs).consume("2", callback=print)


@pytest.mark.parametrize(
    ("act", "argument"),
    [
        ("get", MARKED_ARGUMENT),
        ("purge", MARKED_ARGUMENT),
        ("delete", MARKED_ARGUMENT),
        ("get", INBOX_ARGUMENT),
        ("purge", INBOX_ARGUMENT),
        ("delete", INBOX_ARGUMENT),
    ],
)
def test_messages_of_runs_and_of_plain_clients_are_not_taken_past_the_ledger(
    runs: Any, act: str, argument: str
) -> None:
    bound = marked("b", argument)(runs)
    bound.declare()
    with pytest.raises(Refused, match="queue b"):
        getattr(bound, act)()


def test_nothing_is_consumed_from_a_queue_of_runs_or_published_to_it(runs: Any) -> None:
    bound = marked("c")(runs)
    bound.declare()
    with pytest.raises(Refused, match="holds runs"):
        bound.consume("1", callback=print)
    with pytest.raises(Refused, match="holds runs"):
        kombu.Producer(runs).publish("one", routing_key="c", exchange=bound.exchange)
