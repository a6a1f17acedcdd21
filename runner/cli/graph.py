"""``runner graph``."""

from __future__ import annotations

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, json_option
from runner.cli.terminal.output import Output, command_line, warn_of_problems
from runner.errors import UsageError

FORMATS = ("text", "mermaid", "dot")


@verb(example="runner graph nightly\nrunner graph nightly -o dot | dot -Tsvg > nightly.svg")
@click.argument("job", type=JOB)
@click.option("--output", "-o", type=click.Choice(FORMATS), help="The format; text by default.")
@json_option
def command(job: str, output: str | None, as_json: bool) -> int:
    """Print the steps of a job and their dependencies.

    In text, each step is below the last step that it needs. The other formats are for Mermaid and Graphviz (dot), where
    dashed lines lead to steps with when: failed or ended.
    """
    from runner.flows.picture import as_document, as_dot, as_mermaid, as_text  # start-up time: --help draws nothing

    if as_json and output is not None:
        raise UsageError("--json and --output cannot be combined", hint="use one of them")
    project = open_project()
    out = Output(as_json=as_json)
    warn_of_problems(out, project)
    flow = project.catalog.get(job)
    if not flow.is_flow:
        hint = f"see its options: {command_line(project, 'jobs', flow.flow or flow.name)}"
        raise UsageError(f"{flow.name} has no steps, so it has no graph", hint=hint)
    if as_json:
        out.document(as_document(flow))
    else:
        out.data({"text": as_text, "mermaid": as_mermaid, "dot": as_dot}[output or "text"](flow))
    return 0
