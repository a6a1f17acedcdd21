"""``runner doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.frame.group import verb
from runner.cli.frame.hints import with_project
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import json_option
from runner.cli.frame.output import Output, table

if TYPE_CHECKING:
    from runner.actions.doctor import Report
    from runner.ledger.health import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


@verb(example="runner doctor\nrunner doctor --repair")
@click.option("--repair", is_flag=True, help="Repair problems without losing runs; safe while workers are running.")
@json_option
def command(repair: bool, as_json: bool) -> int:
    """Check the server, the settings, and the workers, and whether the ledger and the queues match.

    Exits with 0 if nothing needs attention, otherwise with 1. With --repair, exits with 0 if nothing needs attention
    after the repair. If dead workers left claims and no worker is alive, a repair takes a little longer than a lease
    (worker.lease).
    """
    from runner.actions.doctor import examine  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)
    report = examine(project, repair=repair)
    if as_json:
        out.document(report.as_dict())
    else:
        _show(out, report)
    return 0 if report.healthy else 1


def _show(out: Output, report: Report) -> None:
    table(
        out,
        ("LEVEL", "CHECK", "FOUND"),
        [(str(finding.level), finding.name, _words(finding)) for finding in report.findings],
        STYLES,
    )
    for finding in report.mended:
        out.note(f"repaired: {finding.name}: {_words(finding)}")
    for finding in report.findings:
        if finding.remedy and finding.level != "ok":
            out.note(f"hint: {finding.name}: {with_project(finding.remedy)}")


def _words(finding: Finding) -> str:
    if not finding.examples:
        return finding.what
    more = ", …" if finding.count > len(finding.examples) else ""
    return f"{finding.what} ({', '.join(finding.examples)}{more})"
