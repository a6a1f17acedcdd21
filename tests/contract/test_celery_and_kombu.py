"""Names each part of Celery and Kombu that is overridden or relied upon and is not public.

An upgrade that moves one of them fails here by name, and not in a worker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import billiard.common
import billiard.pool
import celery.backends.redis
import celery.result
import celery.worker.consumer.consumer
import celery.worker.consumer.control
import celery.worker.pidbox
import celery.worker.state
import kombu
import kombu.pidbox
import kombu.transport.redis
import kombu.transport.virtual
import pytest
import redis
from celery import bootsteps, platforms
from celery.app import trace
from celery.app.task import Task
from celery.app.trace import build_tracer
from celery.concurrency import prefork
from celery.concurrency.base import BasePool
from celery.worker import components, control
from celery.worker.autoscale import Autoscaler, WorkerComponent
from celery.worker.control import Panel


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


CHANNEL = kombu.transport.redis.Channel
QOS = kombu.transport.virtual.QoS
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
    (CHANNEL._get_pool, ["self", "asynchronous"]),
    (CHANNEL._disconnect_pools, ["self"]),
    (CHANNEL._flush_brpop_reauth, ["self"]),
    (CHANNEL.close, ["self"]),
    (QOS.ack, ["self", "delivery_tag"]),
    (QOS.reject, ["self", "delivery_tag", "requeue"]),
    (QOS.append, ["self", "message", "delivery_tag"]),
    (QOS._flush, ["self"]),
    (kombu.transport.redis.QoS.restore_unacked, ["self", "client"]),
    (kombu.transport.redis.QoS.restore_visible, ["self", "start", "num", "interval"]),
    (kombu.transport.virtual.Transport._deliver, ["self", "message", "queue"]),
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
    (BasePool.on_start, ["self"]),
    (BasePool.on_stop, ["self"]),
    (BasePool.on_terminate, ["self"]),
    (BasePool.on_close, ["self"]),
    (BasePool._get_info, ["self"]),
    (platforms.set_pdeathsig, ["name"]),
    (billiard.common.reset_signals, ["handler", "full"]),
    (billiard.pool.Worker.workloop, ["self", "debug", "now", "pid"]),
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
        (CHANNEL, "client"),
        (redis._parsers._HiredisParser, "set_invalidation_push_handler"),
        (redis.ConnectionPool, "release"),
        (Task, "before_start"),
        (Task, "request_stack"),
        (bootsteps.StartStopStep, "start"),
        (celery.worker.state, "active_requests"),
        (celery.worker.state, "requests"),
        (celery.worker.state, "should_stop"),
        (celery.worker.state, "reserved_requests"),
        (celery.worker.state, "total_count"),
        (celery.worker.state, "all_total_count"),
        (prefork, "WORKER_SIGRESET"),
        (kombu.transport.virtual.Transport, "can_parse_url"),
    ],
)
def test_attribute(owner: Any, name: str) -> None:
    assert hasattr(owner, name)


def test_a_mailbox_is_found_by_its_step_and_begins_anew_by_its_reset() -> None:
    assert "self.box = (" in inspect.getsource(celery.worker.consumer.control.Control.__init__)
    assert "self.reset()" in inspect.getsource(celery.worker.pidbox.Pidbox.on_message)
    assert parameters(kombu.pidbox.Node.listen) == ["self", "channel", "callback"]
    assert parameters(celery.bootsteps.Blueprint.__getitem__) == ["self", "name"]


def test_the_tracer_calls_the_guard_where_ignore_is_understood() -> None:
    source = inspect.getsource(build_tracer)
    guard, ignore = source.index("task_before_start(uuid, args, kwargs)"), source.index("except Ignore as exc")
    assert guard < source.index("R = retval = fun(*args, **kwargs)") < ignore


def test_the_tracer_hands_exceptions_to_what_we_give_it() -> None:
    assert "Info" in parameters(build_tracer)
    source = inspect.getsource(build_tracer)
    assert "I = Info(state, exc)" in source
    assert "return trace_ok_t(R, I, T, Rstr)" in source
    assert parameters(trace.TraceInfo.handle_failure)[:3] == ["self", "task", "req"]
    assert parameters(trace.TraceInfo.handle_retry)[:3] == ["self", "task", "req"]


def test_a_process_begins_as_one_of_celerys() -> None:
    """What ``taker_process.py`` does in its place, but for the tracers of all tasks."""
    source = inspect.getsource(prefork.process_initializer)
    for part in (
        "_set_task_join_will_block(True)",
        "platforms.signals.reset(*WORKER_SIGRESET)",
        "platforms.set_mp_process_title('celeryd', hostname=hostname)",
        "app.loader.init_worker()",
        "app.loader.init_worker_process()",
        "app.set_current()",
        "set_default_app(app)",
        "app.finalize()",
        "trace._tasks = app._tasks",
        "worker_state.reset_state()",
        "signals.worker_process_init.send(sender=hostname)",
    ):
        assert part in source, part


def test_a_loop_of_billiards_asks_for_its_pipe_first() -> None:
    source = inspect.getsource(billiard.pool.Worker.workloop)
    assert source.index("put = self.outq.put") < source.index("inqW_fd = self.inqW_fd")


def test_the_worker_gives_its_pool_the_limits() -> None:
    source = inspect.getsource(components.Pool.create)
    for option in ("maxtasksperchild", "max_memory_per_child", "timeout", "soft_timeout"):
        assert f" {option}=w." in source


def test_remote_control_and_the_autoscaler_ask_the_lists_that_are_filled_from_the_board() -> None:
    assert "worker_state.active_requests" in inspect.getsource(control.active)
    assert "len(state.reserved_requests)" in inspect.getsource(Autoscaler.qty.fget)
    joins = inspect.getsource(WorkerComponent.register_with_event_loop)
    assert "on_task_message.add(w.autoscaler.maybe_scale)" in joins
    assert "hub.call_repeatedly" in joins
    assert {"active", "reserved", "query_task", "stats", "enable_events", "disable_events"} <= set(Panel.data)


def test_the_consumer_looks_its_handlers_up_for_each_message() -> None:
    source = inspect.getsource(CONSUMER.create_task_handler)
    assert "strategies = self.strategies" in source
    assert "strategy = strategies[type_]" in source


def test_the_tracer_stores_started_through_the_backend() -> None:
    assert "STARTED,\n                        request=task_request" in inspect.getsource(build_tracer)


def test_inbox_keys_are_those_of_kombu() -> None:
    assert CHANNEL.sep == "\x06\x16"
    assert CHANNEL.priority_steps == [0, 3, 6, 9]
