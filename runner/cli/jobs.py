"""``runner jobs``."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import JOB as JOB_NAME
from runner.cli.frame.options import json_option
from runner.cli.frame.output import Output, table, warn_of_problems
from runner.cli.frame.run_text import LONGEST_CELL, one_line
from runner.errors import UsageError
from runner.model.job import JOB, JobSpec
from runner.model.option import options_of


@verb(example="runner jobs\nrunner jobs nightly-report")
@click.argument("job", required=False, type=JOB_NAME)
@click.option("--jsonl", is_flag=True, help="Print one JSON object a line.")
@json_option
def command(job: str | None, jsonl: bool, as_json: bool) -> int:
    """List the jobs of the project, or show all options of one, with its defaults merged in."""
    if jsonl and as_json:
        raise UsageError("--json and --jsonl each say what to print", hint="use one of them")
    project = open_project()
    out = Output(as_json=as_json or jsonl)
    warn_of_problems(out, project)
    for text in project.catalog.warnings:
        out.warn(text)
    if job is not None:
        _show(out, project.catalog.get(job))
        return 0
    jobs = [project.catalog.jobs[name] for name in sorted(project.catalog.jobs)]
    if as_json:
        out.document([document(each) for each in jobs])
    elif jsonl:
        out.lines(document(each) for each in jobs)
    elif jobs:
        table(out, ("JOB", "TASK", "QUEUE", "ENABLED", "DESCRIPTION"), [_row(each) for each in jobs], {"no": "yellow"})
    else:
        out.note("no jobs")
    return 0


def document(job: JobSpec) -> dict[str, Any]:
    """Return a job as JSON: its name and place, then every option as it would stand in YAML."""
    options = {each.key: each.kind.write(getattr(job, each.field)) for each in _set_options(job)}
    every = {each.key: options.get(each.key) for each in options_of(JobSpec)}
    return {"name": job.name, "file": job.file, "line": job.line, "digest": job.digest, **every}


def _set_options(job: JobSpec) -> list[Any]:
    return [each for each in options_of(JobSpec) if getattr(job, each.field) is not None]


def _row(job: JobSpec) -> tuple[str, ...]:
    enabled = "yes" if job.enabled else "no"
    return (job.name, job.task, job.queue, enabled, one_line(job.description or "", LONGEST_CELL))


def _show(out: Output, job: JobSpec) -> None:
    if out.as_json:
        out.document(document(job))
        return
    import yaml  # start-up time: a table of jobs needs none

    out.data(f"# {job.file}, line {job.line}")
    values = {each.field: getattr(job, each.field) for each in options_of(JobSpec)}
    written = {"task": job.task, **JOB.write_fields(values), "enabled": job.enabled, "queue": job.queue}
    written["priority"] = job.priority
    out.data(yaml.safe_dump({job.name: written}, sort_keys=False, allow_unicode=True, width=100).rstrip())
