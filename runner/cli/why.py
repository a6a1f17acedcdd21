"""``runner why``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.default_run import named_or_latest_failure
from runner.cli.terminal.group import verb
from runner.cli.terminal.moments import show_moment
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import READ_REFERENCE, json_option, utc_option
from runner.cli.terminal.output import Output, command_line, printable
from runner.cli.terminal.run_text import short_id, state_text
from runner.model.run_error import unquoted
from runner.model.run_query import Reading

if TYPE_CHECKING:
    from runner.actions.explain import Facts


@verb(example="runner why\nrunner why 3f2a9c41\nrunner why @nightly-report")
@click.argument("reference", required=False, type=READ_REFERENCE, metavar="[ID]")
@declared_options(Reading)
@json_option
@utc_option
def command(asked: dict[str, object], reference: str | None, as_json: bool, utc: bool) -> int:
    """Explain why a run waits or why it ended, and what you can do about it.

    An ID is a full id, a unique prefix of 8 or more characters, or @JOB: the latest run of that job. Without ID, it is
    the latest failure, and stderr names the run.
    """
    from runner.actions.why import why  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json)
    archived = asked_for(Reading, project, asked).archived
    show = str if as_json else partial(show_moment, utc=utc)
    reference = named_or_latest_failure(project, out, reference, archived=archived)
    facts, explanation = why(project, reference, show, archived=archived)
    show_id = short_id if out.for_people else str
    run, commands = facts.run, [command_line(project, *map(show_id, arguments)) for arguments in explanation.commands]
    if as_json:
        out.document(explanation.document(facts, commands))
        return 0
    out.data(printable(f"{run.job} {show_id(run.id)}: {state_text(run)}"))
    out.data(printable(explanation.beyond_state))
    for text in explanation.because:
        out.data("- " + printable(text).replace("\n", "\n  "))
    for line in _new_lines(facts):
        out.data(f"  > {printable(line)}")
    for command_text in commands:
        out.data(f"  {command_text}")
    return 0


def _new_lines(facts: Facts) -> list[str]:
    """Return the last lines of the log, unless the error quotes all of them."""
    lines = [line for text in facts.log for line in text.splitlines()]
    step = facts.failed_step
    if step is None:
        return unquoted(lines, facts.run.error)
    # In the log of a flow, a line begins with the name of its step.
    return lines if unquoted([line.partition(" | ")[2] for line in lines], step.error) else []
