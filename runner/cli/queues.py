"""``runner queues``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import show_seconds
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.output import command_line
from runner.cli.terminal.several_projects import Shown, flatten
from runner.cli.terminal.show_list import show_list
from runner.model.plural import things
from runner.model.queue import Queue

if TYPE_CHECKING:
    from runner.actions.broker import HintQueues
    from runner.actions.projects import Named


@verb(example="runner queues\nrunner queues -w\nrunner queues -o '{name} {waiting}'")
@list_options()
def command(options: ListOptions) -> int:
    """List the queues, with their runs and their workers.

    The columns show waiting runs by priority, runs that enter the queue later, and runs that are held back. With
    RabbitMQ as broker, HINTS are its messages, which wake idle workers.
    """
    from runner.actions.broker import queues_and_hints  # start-up time: --help needs no ledger

    out = options.output()
    shown = Shown(out, open_projects())

    def read(_changed: Collection[str]) -> Listed[Named[Queue]]:
        answers = shown.read(queues_and_hints)
        rows = flatten(answers, lambda answer: answer[0])
        return Listed(rows, [*(note for answer in answers for note in _hint_notes(answer.value[1])), *_unserved(rows)])

    show_list(out, options, shown.listing(_LISTING), read, "no queues", Pace(2.0))
    return shown.code


def _hint_notes(hints: HintQueues | None) -> Iterator[str]:
    if hints is not None and hints.trouble is not None:
        yield (
            f"warning: {hints.trouble.message}; "
            "workers look for runs within seconds meanwhile (up to 8 s in a large fleet)"
        )
    if hints is not None and hints.unpublished:
        yield f"{things(hints.unpublished, 'hint')} to publish to RabbitMQ"


def _unserved(rows: Sequence[Named[Queue]]) -> Iterator[str]:
    for row in rows:
        if row.value.waiting and not row.value.workers:
            start = command_line(row.project, "worker", "-Q", row.value.name)
            yield f"warning: no worker takes from queue {row.value.name}: {start}"


def _priorities(queue: Queue) -> str:
    return ", ".join(f"{priority}: {count}" for priority, count in queue.priorities.items())


def _workers(queue: Queue) -> str:
    return f"{queue.workers} ({queue.running} of {queue.concurrency} busy)" if queue.workers else "none"


def _oldest(queue: Queue) -> str:
    return show_seconds(queue.oldest) if queue.oldest is not None else ""


_LISTING: Listing[Queue] = Listing(
    [
        Column("QUEUE", lambda queue: queue.name, flexible=True),
        Column("WAITING", lambda queue: str(queue.waiting), right=True),
        Column("PRIORITIES", _priorities, priority=4, flexible=True),
        Column("DELAYED", lambda queue: str(queue.delayed), priority=2, right=True),
        Column("HELD", lambda queue: str(queue.held), priority=3, right=True),
        Column("WORKERS", _workers, styles={"none": "yellow"}),
        Column("OLDEST", _oldest, priority=1),
        Column("HINTS", lambda queue: "" if queue.hints is None else str(queue.hints), priority=5, optional=True),
    ],
    document=Queue.document,
    fields=dict.fromkeys(field.name for field in fields(Queue)),
    key=lambda queue: queue.name,
    name=lambda queue: queue.name,
    unsteady=["oldest"],
)
