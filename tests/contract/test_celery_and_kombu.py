"""Names each part of Celery and Kombu that is overridden or relied upon and is not public.

An upgrade that moves one of them fails here by name, and not in a worker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import celery.backends.redis
import celery.result
import celery.worker.consumer.consumer
import celery.worker.request
import celery.worker.state
import kombu
import kombu.transport.redis
import kombu.transport.virtual
import pytest
from celery import bootsteps
from celery.app import trace
from celery.app.task import Task
from celery.app.trace import build_tracer
from celery.concurrency.asynpool import AsynPool
from celery.concurrency.prefork import TaskPool
from celery.worker import strategy


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


CHANNEL = kombu.transport.redis.Channel
QOS = kombu.transport.virtual.QoS
REQUEST = celery.worker.request.Request
CONSUMER = celery.worker.consumer.consumer.Consumer
BACKEND = celery.backends.redis.RedisBackend

SIGNATURES = [
    (CHANNEL._q_for_pri, ["self", "queue", "pri"]),
    (CHANNEL._connparams, ["self", "asynchronous"]),
    (CHANNEL.conn_or_acquire, ["self", "client"]),
    (CHANNEL._new_queue, ["self", "queue", "auto_delete", "kwargs"]),
    (CHANNEL._brpop_start, ["self", "timeout"]),
    (CHANNEL._brpop_read, ["self", "options"]),
    (CHANNEL._on_connection_disconnect, ["self", "connection"]),
    (CHANNEL._create_client, ["self", "asynchronous"]),
    (CHANNEL._flush_brpop_reauth, ["self"]),
    (CHANNEL.close, ["self"]),
    (QOS.ack, ["self", "delivery_tag"]),
    (QOS.reject, ["self", "delivery_tag", "requeue"]),
    (QOS.append, ["self", "message", "delivery_tag"]),
    (QOS._flush, ["self"]),
    (kombu.transport.redis.QoS.restore_unacked, ["self", "client"]),
    (kombu.transport.redis.QoS.restore_visible, ["self", "start", "num", "interval"]),
    (kombu.transport.virtual.Transport._deliver, ["self", "message", "queue"]),
    (REQUEST.revoked, ["self"]),
    (REQUEST.acknowledge, ["self"]),
    (REQUEST.on_retry, ["self", "exc_info"]),
    (REQUEST.on_timeout, ["self", "soft", "timeout"]),
    (REQUEST.on_failure, ["self", "exc_info", "send_failed_event", "return_ok"]),
    (REQUEST.send_event, ["self", "type", "fields"]),
    (CONSUMER.update_strategies, ["self"]),
    (CONSUMER.ensure_connected, ["self", "conn"]),
    (
        kombu.Connection._ensure_connection,
        [
            "self",
            "errback",
            "max_retries",
            "interval_start",
            "interval_step",
            "interval_max",
            "callback",
            "reraise_as_library_errors",
            "timeout",
        ],
    ),
    (CONSUMER.on_decode_error, ["self", "message", "exc"]),
    (CONSUMER.on_invalid_task, ["self", "body", "message", "exc"]),
    (CONSUMER.on_unknown_message, ["self", "body", "message"]),
    (TaskPool.did_start_ok, ["self"]),
    (AsynPool.maintain_pool, ["self"]),
    (BACKEND._get_task_meta_for, ["self", "task_id"]),
    (BACKEND.task_result_exists, ["self", "task_id"]),
    (BACKEND.on_task_call, ["self", "producer", "task_id"]),
    (BACKEND.meta_from_decoded, ["self", "meta"]),
    (celery.result.AsyncResult.exists, ["self"]),
]


@pytest.mark.parametrize(("function", "expected"), SIGNATURES, ids=lambda value: getattr(value, "__qualname__", ""))
def test_signature(function: Callable[..., Any], expected: list[str]) -> None:
    assert parameters(function) == expected


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (CHANNEL, "keyprefix_queue"),
        (CHANNEL, "keyprefix_binding_permanent"),
        (CHANNEL, "keyprefix_binding_deadlines"),
        (CHANNEL, "from_transport_options"),
        (CHANNEL, "_in_poll"),
        (AsynPool, "maintain_pool"),
        (CONSUMER, "Strategies"),
        (Task, "Request"),
        (Task, "Strategy"),
        (Task, "before_start"),
        (Task, "request_stack"),
        (bootsteps.StartStopStep, "start"),
        (celery.worker.state, "active_requests"),
        (celery.worker.state, "requests"),
        (celery.worker.state, "should_stop"),
        (celery.worker.state, "task_ready"),
        (kombu.transport.virtual.Transport, "can_parse_url"),
    ],
)
def test_attribute(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


def test_the_tracer_calls_the_guard_where_ignore_is_understood() -> None:
    source = inspect.getsource(build_tracer)
    guard, ignore = source.index("task_before_start(uuid, args, kwargs)"), source.index("except Ignore as exc")
    assert guard < source.index("R = retval = fun(*args, **kwargs)") < ignore


def test_a_pool_child_looks_its_tasks_up_where_we_put_them() -> None:
    assert "_loc = _localized if not _loc else _loc" in inspect.getsource(trace.fast_trace_task)
    assert "tasks, accept, hostname = _loc" in inspect.getsource(trace.fast_trace_task)
    assert "tasks[task].__trace__(" in inspect.getsource(trace.fast_trace_task)


def test_the_consumer_looks_its_handlers_up_for_each_message() -> None:
    source = inspect.getsource(CONSUMER.create_task_handler)
    assert "strategies = self.strategies" in source
    assert "strategy = strategies[type_]" in source


def test_the_tracer_stores_started_through_the_backend() -> None:
    assert "STARTED,\n                        request=task_request" in inspect.getsource(build_tracer)


def test_the_strategy_takes_what_we_give_it() -> None:
    assert parameters(strategy.default)[:3] == ["task", "app", "consumer"]
    handler = inspect.getsource(strategy.default)
    assert "def task_message_handler(message, body, ack, reject, callbacks," in handler
    assert "Request = symbol_by_name(task.Request)" in handler


def test_inbox_keys_are_those_of_kombu() -> None:
    assert CHANNEL.sep == "\x06\x16"
    assert CHANNEL.priority_steps == [0, 3, 6, 9]
