"""Hints through a real RabbitMQ: published with confirms, and refused or given up in bounded time."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from runner.app.factory import create_app
from runner.catalog.catalog import load_catalog
from runner.delivery.amqp import queues
from runner.delivery.amqp.connection import open_connection
from runner.delivery.amqp.hints import CONTENT_TYPE, read_hint
from runner.delivery.amqp.permissions import permission_command
from runner.delivery.amqp.publisher import HintPublisher
from runner.delivery.courier import LeavingCourier, PublishingCourier, open_ledger
from runner.errors import NotHandedOver, Unavailable
from runner.ledger.batch import Batch
from runner.ledger.hint import Hint
from runner.ledger.hints import count_hints, take_due
from runner.ledger.submission import Entry, Submission
from runner.settings import Settings
from tests.support.bench import Bench
from tests.support.deadline import wait_until
from tests.support.rabbit import USER, VirtualHost
from tests.support.servers import free_port

HINT = Hint("0f8fad5b", "reports", 7)


@pytest.fixture
def on_rabbit(settings: Settings, rabbit_host: VirtualHost) -> Settings:
    return replace(settings, broker_url=rabbit_host.url)


@pytest.fixture
def publisher(on_rabbit: Settings) -> Iterator[HintPublisher]:
    made = HintPublisher(on_rabbit)
    yield made
    made.close()


def name_of(settings: Settings, queue: str = "reports") -> str:
    return f"{settings.namespace}.{queue}"


def test_a_hint_is_published_to_a_queue_that_is_made_for_it(
    publisher: HintPublisher, on_rabbit: Settings, rabbit_host: VirtualHost
) -> None:
    assert publisher.publish([HINT]) == []
    assert publisher.trouble == ""
    with rabbit_host.connect() as connection:
        channel = connection.channel()
        # Durable, and without arguments, or this would be refused.
        channel.queue_declare(name_of(on_rabbit), durable=True, auto_delete=False)
        message = channel.basic_get(name_of(on_rabbit))
    assert read_hint(message) == HINT
    assert json.loads(message.body) == {"id": HINT.id, "queue": HINT.queue, "priority": HINT.priority}
    assert message.properties["content_type"] == CONTENT_TYPE
    assert message.properties["delivery_mode"] == 2
    assert int(message.properties["expiration"]) == 60_000


def test_many_hints_of_several_queues_are_confirmed(
    publisher: HintPublisher, on_rabbit: Settings, rabbit_host: VirtualHost
) -> None:
    hints = [Hint(f"run-{number}", f"q{number % 3}", 5) for number in range(1200)]
    assert publisher.publish(hints) == []
    assert sorted(rabbit_host.queues().values()) == [400, 400, 400]


@pytest.mark.parametrize("arguments", [{"x_max_priority": 10}, {"x_queue_type": "quorum"}, {"x_max_length": 10}])
def test_a_queue_that_somebody_declared_is_used_as_it_is(
    publisher: HintPublisher, on_rabbit: Settings, rabbit_host: VirtualHost, arguments: dict[str, Any]
) -> None:
    rabbit_host.declare(name_of(on_rabbit), **arguments)
    assert publisher.publish([HINT]) == []
    connection = open_connection(on_rabbit)
    try:
        queues.declare(connection, on_rabbit, "reports")
        found = queues.count(connection, on_rabbit, "reports")
        assert found is not None
        assert found.hints == 1
        assert queues.count(connection, on_rabbit, "other") is None
    finally:
        connection.close()


def test_a_lost_queue_is_made_again(publisher: HintPublisher, on_rabbit: Settings, rabbit_host: VirtualHost) -> None:
    assert publisher.publish([HINT]) == []
    rabbit_host.delete_queue(name_of(on_rabbit))
    assert publisher.publish([HINT]) == []
    assert rabbit_host.queues() == {name_of(on_rabbit): 1}


def test_a_connection_that_the_server_has_closed_is_made_anew(
    publisher: HintPublisher, on_rabbit: Settings, rabbit_host: VirtualHost
) -> None:
    assert publisher.publish([HINT]) == []
    assert rabbit_host.close_connections() >= 1
    assert publisher.publish([HINT]) == []
    assert rabbit_host.queues() == {name_of(on_rabbit): 2}


def test_a_queue_that_may_not_be_declared_is_named_with_a_remedy(on_rabbit: Settings, rabbit_host: VirtualHost) -> None:
    user = f"u{rabbit_host.name}"
    rabbit_host.node.add_user(user, "pw")
    try:
        rabbit_host.permit(user, configure="")
        settings = replace(on_rabbit, broker_url=rabbit_host.url_of(user, "pw"))
        publisher = HintPublisher(settings)
        assert publisher.publish([HINT]) == [HINT]
        assert name_of(settings) in publisher.trouble
        assert "rabbitmqadmin declare queue" in publisher.trouble
        assert permission_command(settings) in publisher.trouble
        assert f"-p {rabbit_host.name} {user} " in publisher.trouble
        rabbit_host.declare(name_of(settings))
        assert publisher.publish([HINT]) == []
        publisher.close()
    finally:
        rabbit_host.node.delete_user(user)


def test_a_queue_that_takes_no_more_is_said(
    publisher: HintPublisher, on_rabbit: Settings, rabbit_host: VirtualHost
) -> None:
    rabbit_host.declare(name_of(on_rabbit), x_max_length=1, x_overflow="reject-publish")
    assert publisher.publish([HINT]) == []
    assert publisher.publish([HINT]) == [HINT]
    assert "refused a hint" in publisher.trouble


def test_a_memory_alarm_is_waited_for_in_bounded_time(on_rabbit: Settings, rabbit_host: VirtualHost) -> None:
    publisher = HintPublisher(on_rabbit, seconds=1.0)
    assert publisher.publish([HINT]) == []
    with rabbit_host.node.out_of_memory():
        # The node looks at its memory now and then.
        wait_until(lambda: publisher.publish([HINT]) == [HINT], 30.0)
        assert publisher.trouble
    wait_until(lambda: publisher.publish([HINT]) == [], 30.0)
    publisher.close()


def test_nobody_there_is_said_without_the_password(settings: Settings) -> None:
    nowhere = replace(settings, broker_url=f"amqp://runner:hunter2@127.0.0.1:{free_port()}/prod")
    publisher = HintPublisher(nowhere)
    assert publisher.publish([HINT, HINT._replace(id="b")]) == [HINT, HINT._replace(id="b")]
    assert "cannot be reached: Connection refused" in publisher.trouble
    assert "hunter2" not in publisher.trouble
    hidden = replace(nowhere, hidden_broker_url=True)
    with pytest.raises(Unavailable) as raised:
        open_connection(hidden)
    assert "127.0.0.1" not in raised.value.message


def test_the_second_server_is_tried(on_rabbit: Settings) -> None:
    both = replace(on_rabbit, broker_url=f"amqp://x:y@127.0.0.1:{free_port()}/;{on_rabbit.broker_url}")
    publisher = HintPublisher(both)
    assert publisher.publish([HINT]) == []
    publisher.close()


def test_each_server_has_the_tls_of_its_own_url(on_rabbit: Settings) -> None:
    first = f"amqps://x:y@localhost:{free_port()}/?verify=verify_none"
    second = f"amqps://x:y@[::1]:{free_port()}/"
    settings = replace(on_rabbit, broker_url=f"{first};{second};{on_rabbit.broker_url}")
    app = create_app(settings, load_catalog(settings))
    with app.connection_for_read() as connection:
        seen = []
        connection.ensure_connection(
            errback=lambda *_: seen.append(connection.host), max_retries=2, interval_start=0, timeout=30
        )
        assert len(seen) == 2
        transport = connection.transport
        assert not connection.connection.ssl
        assert transport.client.transport_options["tls"][seen[1]]["server_hostname"] == "::1"


def test_a_server_that_does_not_answer_leaves_time_for_the_next(on_rabbit: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"amqp://x:y@127.0.0.1:{silent.getsockname()[1]}/;{on_rabbit.broker_url}"
        both = replace(on_rabbit, broker_url=url)
        for _ in range(2):
            publisher = HintPublisher(both, seconds=2.0)
            assert publisher.publish([HINT]) == [], publisher.trouble
            publisher.close()
        # Connected to once by the first publisher; the second began with the server that answers.
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize(("user", "password", "vhost"), [("runner", "wrong", None), (USER, None, "nowhere")])
def test_who_is_not_let_in_is_told_which_user_and_virtual_host(
    on_rabbit: Settings, rabbit_host: VirtualHost, user: str, password: str | None, vhost: str | None
) -> None:
    url = rabbit_host.url_of(user, password or rabbit_host.node.password)
    url = url if vhost is None else f"{url.rpartition('/')[0]}/{vhost}"
    with pytest.raises(Unavailable) as raised:
        open_connection(replace(on_rabbit, broker_url=url))
    assert f"user {user}" in raised.value.message
    assert (vhost or "refuses") in raised.value.message
    assert raised.value.hint is not None
    assert vhost is None or f"set_permissions -p {vhost} {user} '^(" in raised.value.hint
    assert "wrong" not in f"{raised.value.message} {raised.value.hint}"


# -- submissions


def submission(bench: Bench) -> Submission:
    """Return the common options of the runs of a bulk submission."""
    return Submission(id="", job=bench.job(), params={}, queue="reports", priority=5, trigger="cli")


def test_a_submission_is_handed_over_at_once(on_rabbit: Settings, rabbit_host: VirtualHost) -> None:
    bench = Bench(open_ledger(on_rabbit))
    bench.submit(queue="reports")
    assert isinstance(bench.ledger.courier, PublishingCourier)
    assert rabbit_host.queues() == {name_of(on_rabbit): 1}
    assert count_hints(bench.ledger)[0] == 0
    # The same again: there is no hint to publish.
    job = bench.job()
    first = bench.submitted(job=job, key="k")
    assert bench.submitted(job=job, key="k").id == first.id
    assert sum(rabbit_host.queues().values()) == 2
    bench.ledger.close()


def test_runs_in_bulk_are_handed_over(on_rabbit: Settings, rabbit_host: VirtualHost) -> None:
    ledger = open_ledger(on_rabbit)
    bench = Bench(ledger)
    entries = [Entry(f"bulk-{number}", {}) for number in range(7)]
    outcomes, trouble = Batch(ledger, submission(bench), entries).outcomes()
    assert trouble is None
    assert len(outcomes) == 7
    assert rabbit_host.queues() == {name_of(on_rabbit): 7}
    assert count_hints(ledger)[0] == 0
    ledger.close()


def test_what_is_not_confirmed_stays_noted_for_workers(settings: Settings) -> None:
    nowhere = replace(settings, broker_url=f"amqp://runner:hunter2@127.0.0.1:{free_port()}/")
    ledger = open_ledger(nowhere)
    bench = Bench(ledger)
    with pytest.raises(NotHandedOver) as raised:
        bench.submit()
    assert raised.value.exit_code == 69
    assert raised.value.run_id is not None
    assert raised.value.run_id in raised.value.message
    assert "recorded, not handed over" in raised.value.message
    assert ledger.get(raised.value.run_id).state == "PENDING"
    _, trouble = Batch(ledger, submission(bench), [Entry("bulk-1", {}), Entry("bulk-2", {})]).outcomes()
    assert isinstance(trouble, NotHandedOver)
    assert trouble.run_ids == ("bulk-1", "bulk-2")
    assert count_hints(ledger)[0] == 3
    ledger.close()


def test_a_worker_leaves_what_it_submits_to_publishers(settings: Settings) -> None:
    nowhere = replace(settings, broker_url=f"amqp://127.0.0.1:{free_port()}/")
    ledger = open_ledger(nowhere, in_worker=True)
    assert isinstance(ledger.courier, LeavingCourier)
    run = Bench(ledger).submit()
    assert take_due(ledger) == [Hint(run.id, run.queue, run.priority)]
    assert ledger.client.llen(ledger.keys.hints_ring) == 1
    ledger.close()
