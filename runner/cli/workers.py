"""``runner workers``."""

from __future__ import annotations

import time

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import in_one_form, json_option, jsonl_option, utc_option
from runner.cli.terminal.output import Output, table
from runner.cli.terminal.several_projects import Shown
from runner.model.plural import things
from runner.model.run import to_datetime
from runner.model.worker import Worker

STYLES = {"running": "green", "stopping": "yellow", "lost": "red"}


@verb(example="runner workers\nrunner workers --json")
@json_option
@jsonl_option
@utc_option
def command(as_json: bool, jsonl: bool, utc: bool) -> int:
    """List the workers with their last reported state.

    A worker that is silent for a lease counts as lost. It is listed for another day.
    """
    from runner.ledger.fleet import read_workers  # start-up time: --help needs no ledger

    in_one_form(json=as_json, jsonl=jsonl)
    out = Output(as_json=as_json or jsonl, utc=utc)
    shown = Shown(out, open_projects())
    workers = [(of, each) for of in shown.read(lambda project: read_workers(project.ledger)) for each in of.value]
    if out.as_json:
        out.listed([shown.document(of, each.document()) for of, each in workers], as_lines=jsonl)
        return shown.code
    if not workers:
        out.note("no workers")
        return shown.code
    headings = (*shown.heading, "WORKER", "STATE", "RUNNING", "QUEUES", "JOBS", "CATALOG", "SINCE", "SEEN", "VERSION")
    table(out, headings, [(*shown.cell(of), *_row(out, each)) for of, each in workers], STYLES)
    for _, each in workers:
        if each.problems.count and not each.lost:
            kept = f"; an earlier state of {', '.join(each.kept)} is in force" if each.kept else ""
            out.warn(f"{each.name}: problems in files of jobs: {each.problems.first[0]}{kept}")
    return shown.code


def _row(out: Output, worker: Worker) -> tuple[str, ...]:
    problems = worker.problems.count
    catalog = (worker.catalog or "").removeprefix("sha256:")[:8]
    return (
        worker.name,
        worker.state,
        f"{worker.running} of {worker.concurrency}",
        ", ".join(worker.queues),
        str(worker.jobs),
        f"{catalog} ({things(problems, 'problem')})" if problems else catalog,
        show_moment(worker.started_at, utc=out.utc),
        f"{show_seconds(max(0.0, time.time() - to_datetime(worker.seen_at).timestamp()))} ago",
        worker.version or "",
    )
