"""``runner queues``."""

from __future__ import annotations

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_seconds
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import in_one_form, json_option, jsonl_option
from runner.cli.terminal.output import Output, command_line, table
from runner.cli.terminal.several_projects import Shown
from runner.model.plural import things
from runner.model.queue import Queue

HEADINGS = ("QUEUE", "WAITING", "PRIORITIES", "DELAYED", "HELD", "WORKERS", "OLDEST")


@verb(example="runner queues\nrunner queues --json")
@json_option
@jsonl_option
def command(as_json: bool, jsonl: bool) -> int:
    """List the queues, with their runs and their workers.

    The runs are those that wait, by priority, those that enter the queue later, and those that are held. With RabbitMQ
    as broker, HINTS are its messages, which wake idle workers.
    """
    from runner.actions.broker import queues_and_hints  # start-up time: --help needs no ledger

    in_one_form(json=as_json, jsonl=jsonl)
    out = Output(as_json=as_json or jsonl)
    shown = Shown(out, open_projects())
    answers = shown.read(queues_and_hints)
    queues = [(of, each) for of in answers for each in of.value[0]]
    hints = any(of.value[1] is not None for of in answers)
    if out.as_json:
        out.listed([shown.document(of, each.document()) for of, each in queues], as_lines=jsonl)
    elif queues:
        table(
            out,
            (*shown.heading, *HEADINGS, *(["HINTS"] if hints else [])),
            [(*shown.cell(of), *_row(each), *([_hints(each)] if hints else [])) for of, each in queues],
            {},
        )
    else:
        out.note("no queues")
    for of in answers:
        told = of.value[1]
        if told is not None and told.trouble is not None:
            out.warn(
                f"{told.trouble.message}; workers look for runs within seconds meanwhile (up to 7 s in a large fleet)"
            )
        if told is not None and told.unpublished:
            out.note(f"{things(told.unpublished, 'hint')} to publish to RabbitMQ")
    for of, each in queues:
        if each.waiting and not each.workers:
            start = command_line(of.project, "worker", "-Q", each.name)
            out.warn(f"no worker takes from queue {each.name}: {start}")
    return shown.code


def _row(queue: Queue) -> tuple[str, ...]:
    return (
        queue.name,
        str(queue.waiting),
        ", ".join(f"{priority}: {count}" for priority, count in queue.priorities.items()),
        str(queue.delayed),
        str(queue.held),
        f"{queue.workers} ({queue.running} of {queue.concurrency} busy)" if queue.workers else "none",
        show_seconds(queue.oldest) if queue.oldest is not None else "",
    )


def _hints(queue: Queue) -> str:
    return str(queue.hints) if queue.hints is not None else ""
