"""Answer Celery's remote control.

``worker.remote_control: safe`` allows only read-only commands and ``revoke``. Revoked tasks and tasks with an eta,
which Celery keeps in a worker's memory, are in the ledger, so a worker answers that it has none. ``revoke`` changes the
ledger, for all workers.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Mapping

from celery.app.utils import HIDDEN_SETTINGS
from celery.worker.control import Panel as Commands

from runner.app.celery_types import JsonObject
from runner.app.commands import LOOKING, refusal
from runner.errors import RunnerError
from runner.ledger.inbox import INBOX
from runner.model.end_signal import signal_name
from runner.model.queue_name import QUEUE_NAME
from runner.settings.redis_url import mask
from runner.worker.active_runs import Command, refreshing, telling
from runner.worker.celery_types import Panel
from runner.worker.state import state_of

MOST_REVOKED = 1000
"""The maximum number of ids in one ``revoke``."""


def plain_commands() -> dict[str, Command]:
    """Return the commands that plain clients may use, whatever ``worker.remote_control`` is."""
    return _PlainCommands((name, answer) for name, answer in {**Commands.data, **_OWN}.items() if name in LOOKING)


def set_commands(mode: str) -> None:
    """Set the commands of this process for ``mode`` (``worker.remote_control``)."""
    Commands.data.update(_OWN)
    for name in _OF_THE_BOARD:
        Commands.data[name] = refreshing(Commands.data[name])
    for name in ("enable_events", "disable_events"):
        Commands.data[name] = telling(Commands.data[name])
    if mode != "full":
        for name in set(Commands.data) - LOOKING:
            Commands.data[name] = _refuse(name)


def _refuse(name: str, message: str = "") -> Callable[..., JsonObject]:
    def refuse(_panel: object, **_: object) -> JsonObject:
        return {"error": message or refusal(name)}

    return refuse


class _PlainCommands(dict[str, Command]):
    """Commands by name; any other name gets a command that refuses."""

    def __missing__(self, name: str) -> Callable[..., JsonObject]:
        message = f"{str(name)[:100]} is refused to a plain Celery client, use the generated app: celery -A runner"
        return _refuse(name, message)


def _nothing(_panel: object, **_: object) -> list[object]:
    return []


def _conf(panel: Panel, **_: object) -> JsonObject:
    """Return the settings that differ from Celery's defaults and are text or numbers, without passwords."""
    found: Mapping[str, object] = panel.app.conf.table(with_defaults=False, censored=False)
    settings = {
        name: value
        for name, value in found.items()
        if isinstance(value, str | int | float | bool) and not HIDDEN_SETTINGS.search(name)
    }
    return {
        name: mask(value) if isinstance(value, str) and "://" in value else value for name, value in settings.items()
    }


def _revoke(
    panel: Panel,
    task_id: str | Iterable[str] = (),
    terminate: object = False,
    signal: str | int | None = None,
    **_: object,
) -> JsonObject:
    """Revoke runs in the ledger. Every worker gets the command, but only the first one changes anything."""
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    if len(ids) > MOST_REVOKED or not all(isinstance(run_id, str) for run_id in ids):
        return {"error": f"name up to {MOST_REVOKED} ids, each a text"}
    try:
        name = signal_name(signal)
        for run_id in ids:
            panel.app.backend.ledger.revoke(run_id, by="celery control", terminate=bool(terminate), signal=name)
    except RunnerError as error:
        return {"error": error.message}
    return {"ok": f"revoked: {', '.join(ids)}"}


def _terminate(
    panel: Panel, signal: str | int | None = None, task_id: str | Iterable[str] = (), **_: object
) -> JsonObject:
    return _revoke(panel, task_id, terminate=True, signal=signal)


def _add_consumer(panel: Panel, queue: object = None, **options: object) -> JsonObject:
    """Consume another queue."""
    if not isinstance(queue, str) or not re.fullmatch(str(QUEUE_NAME.pattern), queue):
        return {"error": f"{str(queue)[:100]!r} is not a valid queue name, {QUEUE_NAME.advice}"}
    if given := sorted(name for name, value in options.items() if value is not None):
        return {"error": f"a queue of runs has no options, leave out {', '.join(given)[:200]}"}
    panel.consumer.call_soon(panel.consumer.add_task_queue, queue)
    return {"ok": f"takes runs from {queue}"}


def _cancel_consumer(panel: Panel, queue: object = None, **_: object) -> JsonObject:
    """Stop consuming a queue; active runs go on."""
    consumed = state_of(panel.consumer).queues
    if queue not in consumed:
        return {"error": f"takes no runs from {str(queue)[:100]!r}, only from {', '.join(consumed)}"}
    panel.consumer.call_soon(panel.consumer.cancel_task_queue, queue)
    return {"ok": f"takes no more runs from {queue}"}


def _active_queues(panel: Panel, **_: object) -> list[JsonObject]:
    """Return the consumed queues, including that of plain clients."""
    queues = panel.app.amqp.queues
    taken = dict.fromkeys((*state_of(panel.consumer).queues, INBOX))
    return [queues[name].as_dict(recurse=True) for name in taken]


def _shutdown(_panel: object, **_: object) -> JsonObject:
    """Stop like after SIGTERM: active runs have their grace period."""
    os.kill(os.getpid(), signal.SIGTERM)
    return {"ok": "stopping"}


def _no_rate_limit(_panel: object, **_: object) -> JsonObject:
    return {"error": "rate_limit is not supported: rate in jobs.d limits how many runs start, over all workers"}


def _no_time_limit(_panel: object, **_: object) -> JsonObject:
    return {"error": "time_limit is not supported: set timeout and soft_timeout in jobs.d, which workers follow"}


_OWN: dict[str, Command] = {
    "scheduled": _nothing,
    "revoked": _nothing,
    "conf": _conf,
    "revoke": _revoke,
    "terminate": _terminate,
    "add_consumer": _add_consumer,
    "cancel_consumer": _cancel_consumer,
    "shutdown": _shutdown,
    "active_queues": _active_queues,
    "rate_limit": _no_rate_limit,
    "time_limit": _no_time_limit,
}
_OF_THE_BOARD = ("active", "reserved", "query_task", "stats", "dump_active", "dump_reserved")
"""The commands that show the runs of takers."""
