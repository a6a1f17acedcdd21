"""What a ``@shared_task`` finds of Celery while it runs as a job: its request, its own base class, the current task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.support.project import write_project
from tests.support.servers import Server
from tests.support.work import Work

WORK = """
import os

from celery import Task, current_app, current_task, shared_task


@shared_task(bind=True, name="shop.look")
def look(self, day):
    request = self.request
    return {
        "id": request.id,
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "correlation_id": request.correlation_id,
        "group": request.group,
        "retries": request.retries,
        "hostname": request.hostname,
        "is_eager": request.is_eager,
        "redelivered": request.delivery_info["redelivered"],
        "delivery_info": sorted(request.delivery_info),
        "name": self.name,
        "state": self.AsyncResult(request.id).state,
        "current": [current_task.name, current_task.request.id],
        "knows": "look" in current_app.tasks,
        "day": day,
    }

@shared_task(bind=True)
def again(self):
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("again"))
    return [self.request.retries, self.request.id]


class Connected(Task):
    _connection = None

    @property
    def connection(self):
        if self._connection is None:
            self._connection = object()
        return self._connection

    def __call__(self, *args, **kwargs):
        self.called = "by its own class"
        return super().__call__(*args, **kwargs)

@shared_task(base=Connected, bind=True)
def connected(self):
    return {"called": self.called, "connection": id(self.connection), "pid": os.getpid()}

@shared_task
def price(amount):
    return 2 * amount

@shared_task
def total(amounts):
    return sum(price(each) for each in amounts)
"""
JOBS: dict[str, Any] = {
    "look": {"task": "work:look", "params": {"day": {"type": "string"}}},
    "again": {"task": "work:again", "retry": {"max_retries": 2, "delay": "50ms", "jitter": False}},
    "connected": {"task": "work:connected"},
    "total": {"task": "work:total", "kwargs": {"amounts": [1, 2, 3]}},
}
POOLS = ["prefork", "threads", "solo"]

Start = Callable[[str], Work]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Start]:
    """Start a worker of a pool, when a test first asks for it."""
    with ExitStack() as stack:

        @cache
        def start(pool: str) -> Work:
            project = write_project(tmp_path_factory.mktemp(pool) / "p", redis_server.url, JOBS, {"work.py": WORK})
            stack.enter_context(project.worker("-P", pool, "-n", "w@shop", concurrency=1))
            return Work(project)

        yield start


@pytest.mark.parametrize("pool", POOLS)
def test_the_request_of_a_bound_task(shop: Start, pool: str) -> None:
    run = shop(pool).run("look", day="monday")
    assert run.state == "SUCCESS"
    result = run.result
    assert (result["id"], result["root_id"], result["correlation_id"]) == (run.id, run.id, run.id)
    assert (result["parent_id"], result["group"], result["retries"]) == (None, None, 0)
    assert result["hostname"] == run.worker == "w@shop"
    assert (result["is_eager"], result["redelivered"]) == (False, False)
    assert {"exchange", "priority", "redelivered", "routing_key"} <= set(result["delivery_info"])
    assert result["name"] == "shop.look"
    assert result["state"] == "STARTED"
    # The task that others see is that of the function, as in Celery.
    assert result["current"] == ["shop.look", run.id]
    assert result["knows"]
    assert result["day"] == "monday"


@pytest.mark.parametrize("pool", POOLS)
def test_retries_are_counted_and_the_id_stays(shop: Start, pool: str) -> None:
    run = shop(pool).run("again")
    assert (run.state, run.attempts, run.result) == ("SUCCESS", 3, [2, run.id])


@pytest.mark.parametrize("pool", POOLS)
def test_a_base_class_calls_the_task_and_keeps_what_it_has(shop: Start, pool: str) -> None:
    first, second = (shop(pool).run("connected").result for _ in range(2))
    assert first["called"] == "by its own class"
    # A connection that the class keeps in a process is there for the next run.
    assert first == second


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_calls_another_as_a_function(shop: Start, pool: str) -> None:
    assert shop(pool).run("total").result == 12
