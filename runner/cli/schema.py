"""``runner schema``."""

from __future__ import annotations

import json

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.output import Output


@verb(example="runner schema jobs > schema/jobs.schema.json")
@click.argument("which", type=click.Choice(["jobs", "runner"]), default="jobs")
def command(which: str) -> int:
    """Print the JSON Schema (2020-12) of job files or of runner.yaml. Editors use it to complete and check options."""
    from runner.authoring.schema import jobs_schema, runner_schema  # start-up time: --help derives no schema

    schema = jobs_schema() if which == "jobs" else runner_schema()
    Output().data(json.dumps(schema, indent=2, ensure_ascii=False))
    return 0
