"""``runner doctor``."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.hints import with_project
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import json_option
from runner.cli.terminal.output import Output, printable, table
from runner.errors import UsageError
from runner.model.plural import things

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.health.finding import Finding, Report

STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}
INDENT = " " * 9
"""As wide as the longest level and two spaces."""


@verb(example="runner doctor\nrunner doctor --repair\nrunner doctor --worker")
@click.option("--repair", is_flag=True, help="Repair problems without losing runs; safe while workers are running.")
@click.option("--worker", is_flag=True, help="Check only the worker of this host or container; for health checks.")
@click.option("--all", "everything", is_flag=True, help="On a terminal, list the checks that passed, too.")
@json_option
def command(repair: bool, worker: bool, everything: bool, as_json: bool) -> int:
    """Check the server, the settings, the workers, and whether the ledger and the queues agree.

    The exit code is 0 if nothing needs attention (with --repair: after the repair), and 1 otherwise. If dead workers
    left claims and no worker is alive, a repair takes a little longer than a lease (worker.lease).

    With --worker, the exit code is 0 if a worker of the project in this container or on this host sends heartbeats to
    Redis, 1 if there is none, and 69 if Redis cannot be reached from here.
    """
    if worker and repair:
        raise UsageError("--worker and --repair cannot be combined: --worker changes nothing", hint="use one of them")
    project = open_project()
    out = Output(as_json=as_json)
    report = _examine_workers(project) if worker else _examine(project, repair=repair)
    if as_json:
        out.document(report.as_dict())
    else:
        _show(out, report, everything=everything or worker)
    return 0 if report.healthy else 1


def _examine(project: Project, *, repair: bool) -> Report:
    from runner.actions.doctor import examine  # start-up time: --help reads no settings

    return examine(project, repair=repair)


def _examine_workers(project: Project) -> Report:
    from runner.actions.doctor_worker import examine_workers  # start-up time: a health check comes often

    return examine_workers(project)


def _show(out: Output, report: Report, *, everything: bool) -> None:
    # By urgency; checks of one level stay in their order.
    findings = sorted(report.findings, key=lambda finding: list(STYLES).index(finding.level), reverse=True)
    for finding in report.mended:
        out.note(f"repaired: {finding.name}: {_described(finding)}")
    if out.for_people:
        width = shutil.get_terminal_size().columns
        for line in report_lines(findings, width=width, everything=everything, colored=not os.environ.get("NO_COLOR")):
            out.data(line, styled=True)
        return
    rows = [(str(finding.level), finding.name, _described(finding)) for finding in findings]
    table(out, ("LEVEL", "CHECK", "FOUND"), rows, STYLES)
    for finding in findings:
        if finding.remedy and finding.level != "ok":
            out.note(f"hint: {finding.name}: {with_project(finding.remedy)}")


def report_lines(findings: list[Finding], *, width: int, everything: bool, colored: bool) -> Iterator[str]:
    """Yield the report for a terminal: what needs attention with its hint, then the number of passed checks.

    Args:
        findings: sorted by urgency.
        width: columns of the terminal.
        everything: list the passed checks, too.
        colored: color the levels.
    """
    passed = sum(finding.level == "ok" for finding in findings)
    for finding in findings:
        level = str(finding.level)
        if level == "ok" and not everything:
            continue
        text = printable(f"{finding.name}: {_described(finding)}")
        first, *rest = textwrap.wrap(
            text, max(width - len(INDENT), 40), break_long_words=False, break_on_hyphens=False
        ) or [""]
        shown = click.style(level, fg=STYLES[level]) if colored else level
        yield f"{shown}{'':{len(INDENT) - len(level)}}{first}"
        yield from (f"{INDENT}{line}" for line in rest)
        if finding.remedy and level != "ok":
            # In one line, because it may hold a command to copy.
            yield printable(f"{INDENT}hint: {with_project(finding.remedy)}")
    if passed < len(findings):
        yield ""
    listed = "" if everything or not passed else " (runner doctor --all lists them)"
    yield f"{things(passed, 'check')} passed{listed}"


def _described(finding: Finding) -> str:
    if not finding.examples:
        return finding.what
    more = ", …" if finding.count > len(finding.examples) else ""
    return f"{finding.what} ({', '.join(finding.examples)}{more})"
