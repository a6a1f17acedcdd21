"""``runner backfill``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, WholeNumber, json_option, utc_option
from runner.cli.terminal.output import Output, command_line, table, warn_of_problems
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, params_text
from runner.model.plural import things
from runner.model.run import to_timestamp


@verb(example="runner backfill nightly-report --from 2026-01-01 --to 2026-12-31 --at-once 4")
@click.argument("job", type=JOB)
@click.option("--from", "begin", required=True, metavar="TIME", help="The first day or time: 2026-01-01.")
@click.option("--to", "end", required=True, metavar="TIME", help="The last day or time, included: 2026-12-31.")
@click.option("--at-once", type=WholeNumber(1, 10_000), metavar="N", help="How many of its runs may be active at once.")
@click.option("--again", is_flag=True, help="Also run slots that had a run before.")
@click.option("--dry-run", is_flag=True, help="Show the slots, and submit nothing.")
@json_option
@utc_option
def command(
    job: str, begin: str, end: str, at_once: int | None, again: bool, dry_run: bool, as_json: bool, utc: bool
) -> int:
    """Submit a run for each slot of a job's schedule in a range of the past.

    Times are in the time zone of the schedule. Each run gets the params of its slot. Slots that have had a run are
    skipped, so the same command submits only the missing runs when you repeat it. Workers enforce --at-once, and this
    command does not wait. runner backfills lists backfills, and runner revoke --backfill ID revokes one.
    """
    from runner.actions.backfill import backfill  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    warn_of_problems(out, project)
    found = backfill(project, job, begin, end, at_once=at_once, again=again, dry_run=dry_run)
    if found.ahead:
        out.note("the slots in the future are left to the schedule")
    if as_json:
        out.document(found.document())
        return 0
    skipped = sum(slot.known for slot in found.slots)
    if dry_run:
        rows = [
            (
                show_moment(to_timestamp(slot.slot), utc=utc),
                one_line(params_text(slot.params), LONGEST_CELL),
                "skipped" if slot.known else "",
            )
            for slot in found.slots
        ]
        table(out, ("SLOT", "PARAMS", "STATE"), rows, {"skipped": "yellow"})
        out.note(f"{things(len(rows) - skipped, 'run')} would be submitted, {things(skipped, 'slot')} skipped")
        return 0
    if found.submitted:
        out.data(found.backfill.id)
    more = "; --again runs them again" if skipped else ""
    out.note(
        f"{things(found.submitted, 'run')} of {job} submitted, {things(skipped, 'slot')} skipped that had a run{more}"
    )
    if found.submitted:
        out.note(f"to see them: {command_line(project, 'runs', '--backfill', found.backfill.id)}")
    return 0
