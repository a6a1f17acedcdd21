"""``runner jobs``."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.listing import Column, Listed, Listing, ListOptions, Pace, list_options
from runner.cli.terminal.moments import Clock, show_moment
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import JOB as JOB_NAME
from runner.cli.terminal.output import STYLES, Output, warn_of_problems
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, pause_text
from runner.cli.terminal.several_projects import Shown, flatten
from runner.cli.terminal.show_list import show_list
from runner.model.job import JOB, JobSpec
from runner.model.option import options_of
from runner.model.run import to_timestamp
from runner.model.schedule import schedule_text

if TYPE_CHECKING:
    from runner.actions.job_list import ListedJob
    from runner.actions.project import Project
    from runner.actions.projects import Named, Together
    from runner.errors import Unavailable
    from runner.ledger.standings import Last


@verb(example="runner jobs\nrunner jobs nightly-report\nrunner jobs -o '{name} {last.state} {next}'")
@click.argument("job", required=False, type=JOB_NAME)
@list_options()
def command(job: str | None, options: ListOptions) -> int:
    """List the jobs of the project with their schedules, or show all options of one job, including defaults.

    LAST shows how the last run ended, and NEXT shows the time of the next slot. LAST and pauses are shown only if Redis
    can be reached.
    """
    out = options.output()
    shown = Shown(out, open_projects())
    if job is not None and not options.follow and _in_detail(options, several=shown.projects.several):
        for number, row in enumerate(flatten(_read(shown, job), list)):
            shown.title(row, first=number == 0)
            _show(out, row.value)
        return shown.code

    def read(_changed: Collection[str]) -> Listed[Named[ListedJob]]:
        rows = flatten(_read(shown, job), list)
        pauses = {(row.name, row.value.pause.job): row.value.pause for row in rows if row.value.pause is not None}
        # Documents and texts for programs have the pauses, or need none.
        notes = [pause_text(pause, utc=options.utc) for pause in pauses.values()] if options.is_table else []
        return Listed(rows, notes)

    brief = out.for_people and options.form != "wide"
    show_list(out, options, shown.listing(_listing(options.clock(out), brief=brief)), read, "no jobs", Pace(3.0))
    return shown.code


def _in_detail(options: ListOptions, *, several: bool) -> bool:
    """Whether one job is shown with all its options; several projects have an array of it."""
    return options.form is None or (options.form in ("json", "jsonl") and not several)


def _read(shown: Shown, job: str | None) -> Together[list[ListedJob]]:
    from runner.actions.job_list import describe_jobs  # start-up time: --help reads no settings

    def warn(error: Unavailable) -> None:
        shown.out.warn(f"last runs and pauses are unknown: {error.message}")

    def read(project: Project) -> list[ListedJob]:
        project.look()
        warn_of_problems(shown.out, project)
        for text in project.catalog.warnings:
            shown.out.warn(text)
        names = sorted(project.catalog.jobs) if job is None else [project.catalog.get(job).name]
        return list(describe_jobs(project, names, on_unavailable=warn))

    return shown.read(read)


def _listing(clock: Clock, *, brief: bool) -> Listing[ListedJob]:
    """Return the columns of a list of jobs.

    With ``brief``, ENABLED is empty for enabled jobs, and left out if all are enabled.
    """

    def enabled(row: ListedJob) -> str:
        text = _enabled(row)
        return "" if brief and text == "yes" else text

    return Listing(
        [
            Column("JOB", lambda row: row.job.name, flexible=True),
            Column("SCHEDULE", lambda row: schedule_text(row.job.schedule), priority=2, flexible=True, least=16),
            Column("LAST", lambda row: _last_text(row.last, clock), styles=STYLES),
            Column("NEXT", lambda row: clock.show(to_timestamp(row.next)), priority=1),
            Column("QUEUE", lambda row: row.job.queue, priority=5),
            Column("ENABLED", enabled, priority=3, optional=brief, styles={"no": "yellow", "paused": "yellow"}),
            Column("DESCRIPTION", _description, priority=4, flexible=True),
        ],
        document=lambda row: row.document(),
        fields={
            **dict.fromkeys(("name", "file", "line", "digest")),
            **dict.fromkeys(option.key for option in options_of(JobSpec)),
            "paused": ("job", "by", "since", "until", "comment"),
            "last": ("id", "state", "reason", "finished_at"),
            "next": None,
        },
        key=lambda row: row.job.name,
        name=lambda row: row.job.name,
    )


def _enabled(row: ListedJob) -> str:
    return "no" if not row.job.enabled else "paused" if row.pause is not None else "yes"


def _description(row: ListedJob) -> str:
    return one_line(row.job.description or "", LONGEST_CELL)


def _last_text(last: Last | None, clock: Clock) -> str:
    """Return the outcome of a job's last run, and its age or time: ``FAILURE (timeout) 3h 20m ago``."""
    if last is None:
        return ""
    ago = clock.show_past(to_timestamp(last.finished_at))
    return " ".join(part for part in (last.state, f"({last.reason})" if last.reason else "", ago) if part)


def _show(out: Output, found: ListedJob) -> None:
    if out.as_json:
        out.document(found.document())
        return
    job = found.job
    import yaml  # start-up time: a table of jobs needs none

    out.data(f"# {job.file}, line {job.line}")
    values = {option.field: getattr(job, option.field) for option in options_of(JobSpec)}
    task = {} if job.is_flow else {"task": job.task}
    written = {**task, **JOB.write_fields(values), "enabled": job.enabled, "queue": job.queue}
    written["priority"] = job.priority
    out.data(yaml.safe_dump({job.name: written}, sort_keys=False, allow_unicode=True, width=100).rstrip())
    if found.last is not None:
        out.note(f"last run: {_last_text(found.last, Clock(ages=False))}: {found.last.id}")
    if found.next is not None:
        out.note(f"next slot: {show_moment(to_timestamp(found.next), utc=out.utc)}")
    if found.pause is not None:
        out.note(pause_text(found.pause, utc=out.utc))
