"""``runner archive``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.interrupts import Terminated
from runner.cli.terminal.log_line import log_line
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option, log_format_option, utc_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.run_text import aligned
from runner.errors import UsageError
from runner.model.duration import format_duration
from runner.model.plural import things

if TYPE_CHECKING:
    from runner.actions.archive import ArchiveStatus


@verb(example="runner archive\nrunner archive --follow\nrunner archive --status")
@click.option("--follow", is_flag=True, help="Copy each run when it has ended, until SIGTERM or Ctrl-C.")
@click.option("--status", is_flag=True, help="Show how many runs are copied and how many wait, and copy nothing.")
@click.option("--again", is_flag=True, help="Copy all finished runs in Redis again, for example to a new database.")
@click.option("--parent", type=int, hidden=True, help="End when this process is no longer the parent.")
@log_format_option
@json_option
@utc_option
def command(
    follow: bool, status: bool, again: bool, parent: int | None, log_format: str, as_json: bool, utc: bool
) -> int:
    """Copy finished runs to the database of archive_url, which keeps them when Redis has dropped them.

    Workers do this all the time, unless worker.archive is false. Any number of workers and of these commands may run at
    the same time. The exit code is 1 if the database refuses a run.
    """
    from runner.actions import archive  # start-up time: --help reads no settings

    if follow + status + again > 1:
        raise UsageError("--follow, --status, and --again exclude each other", hint="use one of them")
    project = open_project()
    out = Output(as_json=as_json, utc=utc)
    if status:
        found = archive.read_status(project)
        if as_json:
            out.document(found.document())
        else:
            _show(out, found)
        return 0
    if follow:
        from runner.process.systemd import notify  # start-up time: as above

        try:
            archive.follow(project, lambda text: out.note(log_line("archive", text, log_format)), parent)
        except (Terminated, KeyboardInterrupt):
            notify("STOPPING=1")
        return 0
    copied = archive.copy_once(project, again=again)
    for run_id, reason in copied.refused.items():
        out.warn(f"run {run_id} is not copied: {reason}")
    if as_json:
        out.document({"copied": copied.runs, "removed": copied.removed, "refused": list(copied.refused)})
    else:
        out.note(f"copied {things(copied.runs, 'run')}")
    return 1 if copied.refused else 0


def _show(out: Output, found: ArchiveStatus) -> None:
    waits = found.backlog
    rows = [
        ("archive", found.name),
        ("schema", f"version {found.version}" + ("" if found.version == found.current else f", not {found.current}")),
        ("copied", f"{things(found.copied, 'run')}" + _at(out, ", the last ones ", found.copied_at)),
        ("waiting", things(waits.runs, "run") + (f", for {format_duration(round(waits.lag))}" if waits.runs else "")),
        ("copier", waits.copier or "nobody copies now"),
    ]
    document = found.document()["next"]
    if document is not None:
        result, run = document["result_until"], document["run_until"]
        rows.append(("kept until", f"{_at(out, 'result ', result)}{_at(out, ', run ', run)}, of the first one to go"))
    if found.other:
        rows.append(("attention", "the runs of this project are copied to another database, see runner doctor"))
    if found.other_ledger:
        rows.append(("attention", "it has the runs of another Redis with this namespace, see runner doctor"))
    for line in aligned(rows):
        out.data(line)


def _at(out: Output, text: str, moment: str | None) -> str:
    """Return ``text`` with the time; an empty text if there is no time."""
    return "" if moment is None else f"{text}{show_moment(moment, utc=out.utc)}"
