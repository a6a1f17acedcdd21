"""``runner why``."""

from __future__ import annotations

from functools import partial

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import READ_REFERENCE, json_option, utc_option
from runner.cli.terminal.output import Output, command_line, printable
from runner.cli.terminal.run_text import state_text
from runner.model.run_query import Reading


@verb(example="runner why 3f2a9c41\nrunner why @nightly-report")
@click.argument("reference", type=READ_REFERENCE, metavar="ID")
@declared_options(Reading)
@json_option
@utc_option
def command(asked: dict[str, object], reference: str, as_json: bool, utc: bool) -> int:
    """Explain why a run waits or why it ended, and what you can do about it.

    An ID is a full id, a unique prefix of 8 or more characters, or @JOB: the latest run of that job.
    """
    from runner.actions.why import why  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)
    archived = asked_for(Reading, project, asked).archived
    show = str if as_json else partial(show_moment, utc=utc)
    facts, explanation = why(project, reference, show, archived=archived)
    run, commands = facts.run, [command_line(project, *words) for words in explanation.commands]
    if as_json:
        out.document(explanation.document(facts, commands))
        return 0
    out.data(printable(f"{run.job} {run.id}: {state_text(run)}"))
    out.data(printable(explanation.summary))
    for text in explanation.because:
        out.data("- " + printable(text).replace("\n", "\n  "))
    for line in (part for text in facts.log for part in text.splitlines()):
        out.data(f"  > {printable(line)}")
    for each in commands:
        out.data(f"  {each}")
    return 0
