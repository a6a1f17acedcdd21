"""``runner doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.hints import with_project
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output, table
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.health.finding import Finding, Report

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}


@verb(example="runner doctor\nrunner doctor --repair\nrunner doctor --worker")
@click.option("--repair", is_flag=True, help="Repair problems without losing runs; safe while workers are running.")
@click.option("--worker", is_flag=True, help="Check only the worker of this host or container; for health checks.")
@json_option
def command(repair: bool, worker: bool, as_json: bool) -> int:
    """Check the server, the settings, and the workers, and whether the ledger and the queues match.

    Exits with 0 if nothing needs attention, otherwise with 1. With --repair, exits with 0 if nothing needs attention
    after the repair. If dead workers left claims and no worker is alive, a repair takes a little longer than a lease
    (worker.lease).

    With --worker, exits with 0 if a worker of the project lives in this container or on this host and tells Redis so,
    with 1 if not, and with 69 if Redis cannot be reached from here.
    """
    if worker and repair:
        raise UsageError("--worker only looks, so it cannot be used with --repair", hint="leave one of them out")
    project = open_project()
    out = Output(as_json=as_json)
    report = _examine_workers(project) if worker else _examine(project, repair=repair)
    if as_json:
        out.document(report.as_dict())
    else:
        _show(out, report)
    return 0 if report.healthy else 1


def _examine(project: Project, *, repair: bool) -> Report:
    from runner.actions.doctor import examine  # start-up time: --help reads no settings

    return examine(project, repair=repair)


def _examine_workers(project: Project) -> Report:
    from runner.actions.doctor_worker import examine_workers  # start-up time: a health check comes often

    return examine_workers(project)


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
