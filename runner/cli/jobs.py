"""``runner jobs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import JOB as JOB_NAME
from runner.cli.frame.options import in_one_form, json_option, jsonl_option, utc_option
from runner.cli.frame.output import Output, table, warn_of_problems
from runner.cli.frame.run_text import LONGEST_CELL, one_line, pause_text
from runner.model.job import JOB, JobSpec
from runner.model.job_document import job_document
from runner.model.option import options_of
from runner.model.pause import Pause, paused

if TYPE_CHECKING:
    from runner.actions.project import Project


@verb(example="runner jobs\nrunner jobs nightly-report")
@click.argument("job", required=False, type=JOB_NAME)
@json_option
@jsonl_option
@utc_option
def command(job: str | None, as_json: bool, jsonl: bool, utc: bool) -> int:
    """List the jobs of the project, or show all options of one, with its defaults merged in.

    Tells which are paused, if Redis can be reached.
    """
    in_one_form(json=as_json, jsonl=jsonl)
    project = open_project()
    out = Output(as_json=as_json or jsonl, utc=utc)
    warn_of_problems(out, project)
    for text in project.catalog.warnings:
        out.warn(text)
    if job is not None:
        spec, pauses = project.catalog.get(job), _pauses(project)
        held = paused(pauses, spec.name)
        _show(out, spec, held)
        if held is not None and not out.as_json:
            out.note(pause_text(held, utc=utc))
        return 0
    jobs = [project.catalog.jobs[name] for name in sorted(project.catalog.jobs)]
    pauses = _pauses(project)
    if out.as_json:
        out.listed([job_document(each, paused(pauses, each.name)) for each in jobs], as_lines=jsonl)
    elif jobs:
        rows = [_row(each, paused(pauses, each.name)) for each in jobs]
        table(out, ("JOB", "TASK", "QUEUE", "ENABLED", "DESCRIPTION"), rows, {"no": "yellow", "paused": "yellow"})
        for pause in pauses.values():
            out.note(pause_text(pause, utc=utc))
    else:
        out.note("no jobs")
    return 0


def _pauses(project: Project) -> dict[str, Pause]:
    from runner.actions.pause import known_pauses  # start-up time: --help reads no settings

    return known_pauses(project)


def _row(job: JobSpec, pause: Pause | None) -> tuple[str, ...]:
    enabled = "no" if not job.enabled else "paused" if pause is not None else "yes"
    return (job.name, job.task, job.queue, enabled, one_line(job.description or "", LONGEST_CELL))


def _show(out: Output, job: JobSpec, pause: Pause | None) -> None:
    if out.as_json:
        out.document(job_document(job, pause))
        return
    import yaml  # start-up time: a table of jobs needs none

    out.data(f"# {job.file}, line {job.line}")
    values = {each.field: getattr(job, each.field) for each in options_of(JobSpec)}
    written = {"task": job.task, **JOB.write_fields(values), "enabled": job.enabled, "queue": job.queue}
    written["priority"] = job.priority
    out.data(yaml.safe_dump({job.name: written}, sort_keys=False, allow_unicode=True, width=100).rstrip())
