"""``runner jobs``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment, show_seconds
from runner.cli.terminal.opening import open_projects
from runner.cli.terminal.options import JOB as JOB_NAME
from runner.cli.terminal.options import in_one_form, json_option, jsonl_option, utc_option
from runner.cli.terminal.output import STYLES, Output, table, warn_of_problems
from runner.cli.terminal.run_text import LONGEST_CELL, one_line, pause_text
from runner.cli.terminal.several_projects import Shown
from runner.model.job import JOB, JobSpec
from runner.model.option import options_of
from runner.model.run import to_timestamp
from runner.model.schedule import schedule_text

if TYPE_CHECKING:
    from runner.actions.job_list import ListedJob
    from runner.actions.project import Project
    from runner.ledger.standings import Last


@verb(example="runner jobs\nrunner jobs nightly-report")
@click.argument("job", required=False, type=JOB_NAME)
@json_option
@jsonl_option
@utc_option
def command(job: str | None, as_json: bool, jsonl: bool, utc: bool) -> int:
    """List the jobs of the project with their schedules, or show all options of one job, including defaults.

    LAST shows how the last run ended, and NEXT shows the time of the next slot. LAST and pauses are shown only if Redis
    can be reached.
    """
    from runner.actions.job_list import describe_jobs  # start-up time: --help reads no settings

    in_one_form(json=as_json, jsonl=jsonl)
    out = Output(as_json=as_json or jsonl, utc=utc)
    shown = Shown(out, open_projects())

    def described(project: Project) -> list[ListedJob]:
        warn_of_problems(out, project)
        for text in project.catalog.warnings:
            out.warn(text)
        names = sorted(project.catalog.jobs) if job is None else [project.catalog.get(job).name]
        return list(describe_jobs(project, names))

    found = [(of, each) for of in shown.read(described) for each in of.value]
    if out.as_json and (job is None or shown.projects.several):
        out.listed([shown.document(of, each.document()) for of, each in found], as_lines=jsonl)
    elif job is not None:
        for number, (of, each) in enumerate(found):
            shown.title(of, first=number == 0)
            _show(out, each)
    elif found:
        headings = (*shown.heading, "JOB", "SCHEDULE", "LAST", "NEXT", "QUEUE", "ENABLED", "DESCRIPTION")
        rows = [(*shown.cell(of), *_row(out, each)) for of, each in found]
        table(out, headings, rows, {"no": "yellow", "paused": "yellow", **STYLES})
        for pause in {(of.name, each.pause.job): each.pause for of, each in found if each.pause is not None}.values():
            out.note(pause_text(pause, utc=utc))
    else:
        out.note("no jobs")
    return shown.code


def _row(out: Output, each: ListedJob) -> tuple[str, ...]:
    job = each.job
    enabled = "no" if not job.enabled else "paused" if each.pause is not None else "yes"
    following = show_moment(to_timestamp(each.next), utc=out.utc)
    described = one_line(job.description or "", LONGEST_CELL)
    return (job.name, schedule_text(job.schedule), last_text(each.last), following, job.queue, enabled, described)


def last_text(last: Last | None) -> str:
    """Return the outcome and age of a job's last run: ``FAILURE (timeout) 3h 20m ago``."""
    if last is None:
        return ""
    ago = "" if last.finished_at is None else f"{show_seconds(max(0.0, time.time() - last.finished_at / 1000))} ago"
    return " ".join(part for part in (last.state, f"({last.reason})" if last.reason else "", ago) if part)


def _show(out: Output, found: ListedJob) -> None:
    if out.as_json:
        out.document(found.document())
        return
    job = found.job
    import yaml  # start-up time: a table of jobs needs none

    out.data(f"# {job.file}, line {job.line}")
    values = {each.field: getattr(job, each.field) for each in options_of(JobSpec)}
    task = {} if job.is_flow else {"task": job.task}
    written = {**task, **JOB.write_fields(values), "enabled": job.enabled, "queue": job.queue}
    written["priority"] = job.priority
    out.data(yaml.safe_dump({job.name: written}, sort_keys=False, allow_unicode=True, width=100).rstrip())
    if found.last is not None:
        out.note(f"last run: {last_text(found.last)}: {found.last.id}")
    if found.next is not None:
        out.note(f"next slot: {show_moment(to_timestamp(found.next), utc=out.utc)}")
    if found.pause is not None:
        out.note(pause_text(found.pause, utc=out.utc))
