"""Enqueues tasks in many ways, and prints what came of it as JSON."""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from office.boot import setup

setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from office import tasks  # noqa: E402
from office.models import Invoice  # noqa: E402

import runner  # noqa: E402
from runner.django.backend import RunnerBackend  # noqa: E402
from runner.django.task_framework import TaskResultDoesNotExist  # noqa: E402


class RolledBack(Exception):
    """What ends a transaction."""


def known(result) -> bool:
    """Whether there is a run."""
    with suppress(TaskResultDoesNotExist):
        result.refresh()
        return True
    return False


def refusal(act) -> list[str]:
    """Return the type and the text of what ``act`` raises."""
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return [type(error).__name__, str(error)]
    return []


report = {}
# Without a transaction, a task needs no database.
report["at_once"] = tasks.count_invoices.enqueue().id
report["connected"] = connection.connection is not None

call_command("migrate", run_syncdb=True, verbosity=0)
with suppress(RolledBack), transaction.atomic():
    Invoice.objects.create(number=1)
    rolled_back = tasks.count_invoices.enqueue(1)
    raise RolledBack
report["rolled_back"] = [rolled_back.id, known(rolled_back)]

with transaction.atomic():
    Invoice.objects.create(number=7)
    committed = tasks.count_invoices.enqueue(5, note="yes")
    report["before"] = [known(committed), str(committed.status), committed.enqueued_at]
    with suppress(RolledBack), transaction.atomic():
        savepoint = tasks.count_invoices.enqueue(5)
        raise RolledBack
report["committed"] = [committed.id, known(committed), str(committed.status), committed.enqueued_at is not None]
report["savepoint"] = known(savepoint)


async def in_async_code() -> list[str]:
    """Enqueue, and ask, in a coroutine."""
    result = await tasks.ring.aenqueue(name="Ann")
    found = await tasks.ring.aget_result(result.id)
    return [result.id, str(found.status)]


report["async"] = asyncio.run(in_async_code())
report["context"] = tasks.tell.enqueue("Bob").id
report["failing"] = tasks.fail.enqueue().id
later = tasks.count_invoices.using(
    run_after=datetime.now(UTC) + timedelta(hours=1), queue_name="later", priority=-100
).enqueue()
found = tasks.count_invoices.get_result(later.id)
report["later"] = [later.id, found.task.queue_name, found.task.priority, found.task.run_after is not None]
report["once"] = [tasks.send.enqueue().id, tasks.send.enqueue().id]


def while_redis_is_away() -> None:
    """Enqueue in a transaction that commits."""
    with transaction.atomic():
        Invoice.objects.create(number=-1)
        tasks.count_invoices.using(backend="dead").enqueue()
        report["entered"] = True


report["away"] = [refusal(while_redis_is_away), Invoice.objects.filter(number=-1).count()]


def while_rabbitmq_is_away() -> None:
    """Enqueue in a transaction that commits, in a project whose RabbitMQ answers nobody."""
    backend = RunnerBackend("away", {"OPTIONS": {"project": settings.BASE_DIR / "away"}})
    with transaction.atomic():
        result = backend.enqueue(tasks.count_invoices, (), {"least": 3})
    found = runner.get_run(result.id, project=settings.BASE_DIR / "away")
    report["not handed over"] = [found.state, result.enqueued_at is not None]


report["rabbitmq"] = refusal(while_rabbitmq_is_away)
report["refused"] = {
    "no job": refusal(lambda: tasks.file_away.enqueue(day="2026-11-28")),
    "no job could": refusal(lambda: tasks.pay.enqueue("2026-11-28", amount=1)),
    "two jobs": refusal(tasks.print_invoice.enqueue),
    "params": refusal(lambda: tasks.count_invoices.enqueue(least="many")),
    "unknown": refusal(lambda: tasks.count_invoices.enqueue(most=1)),
    "no JSON": refusal(lambda: tasks.count_invoices.enqueue(note=object())),
    "disabled": refusal(tasks.closed.enqueue),
    "another task": refusal(lambda: tasks.tell.get_result(report["at_once"])),
    "no id": refusal(lambda: tasks.tell.get_result("no id")),
}
print(json.dumps(report))
