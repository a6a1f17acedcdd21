"""``runner logs``."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.default_run import named_or_latest_failure
from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import READ_REFERENCE, WholeNumber, utc_option
from runner.cli.terminal.output import Output, printable
from runner.cli.terminal.readers import while_read
from runner.model.log_line import LogLine
from runner.model.moment import read_since
from runner.model.run_query import Reading

MOST = 1_000_000
STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "bright_black"}


@verb(example="runner logs\nrunner logs 3f2a9c41 -f\nrunner logs @nightly-report --raw | tail -20")
@click.argument("reference", required=False, type=READ_REFERENCE, metavar="[ID]")
@click.option("--follow", "-f", is_flag=True, help="Show new output as it comes, until the run ends.")
@click.option("--attempt", type=WholeNumber(1, MOST), help="Only the output of this attempt.")
@click.option("--step", metavar="NAME", help="Only the output of this step of a flow, or of one item: load[3].")
@click.option("--since", metavar="DURATION|TIME", help="Only output since this time, such as 10m or 02:00.")
@click.option("--tail", "-n", type=WholeNumber(1, MOST), help="Show only the last N lines.")
@click.option("--raw", is_flag=True, help="Print only the text, without time and level.")
@click.option("--jsonl", is_flag=True, help="Print one JSON object per line: at, attempt, level, text, cut, step, run.")
@declared_options(Reading)
@utc_option
def command(
    asked: dict[str, object],
    reference: str | None,
    follow: bool,
    attempt: int | None,
    step: str | None,
    since: str | None,
    tail: int | None,
    raw: bool,
    jsonl: bool,
    utc: bool,
) -> int:
    """Show the output of a run: prints, logging, and its subprocesses, in order of the attempts.

    The output of a flow is that of its steps in order of time, each line with the name of its step. For a run that only
    the archive has, it is the end of its output.

    An ID is a full id, a unique prefix of 8 or more characters, or @JOB: the latest run of that job. Without ID, it is
    the latest failure, and stderr names the run.
    """
    from runner.actions.find import find_id  # start-up time: --help reads no settings
    from runner.actions.logs import read_log  # start-up time: as above

    project = open_project()
    out = Output(as_json=jsonl, utc=utc)
    archived = asked_for(Reading, project, asked).archived
    run_id = find_id(project, named_or_latest_failure(project, out, reference, archived=archived), archived=archived)
    oldest = read_since(since, project.settings.timezone) if since is not None else None
    lines = read_log(
        project, run_id, follow=follow, attempt=attempt, since=oldest, tail=tail, step=step, archived=archived
    )
    shown = False
    with while_read():
        for line in lines:
            shown = True
            _show(out, line, raw=raw)
        if not shown:
            project.reading(archived=archived).get(run_id)  # raises UnknownRun if the run was forgotten meanwhile
            out.note(f"run {run_id} has written nothing" + (" in that time" if since or attempt or step else ""))
    return 0


def _show(out: Output, line: LogLine, *, raw: bool) -> None:
    if out.as_json:
        out.lines([line.document()])
    elif raw:
        out.data(printable(line.text))
    else:
        text = _text(line, utc=out.utc)
        out.data(_colored(line, printable(text)) if out.for_people else printable(text), styled=True)


def _text(line: LogLine, *, utc: bool) -> str:
    zone: tzinfo | None = UTC if utc else None
    at = datetime.fromtimestamp(line.at / 1000, UTC).astimezone(zone)
    head = f"{at.isoformat(' ', 'milliseconds')}  #{line.attempt}  {line.level or '-':<8}"
    head += f"  {line.step} |" if line.step is not None else ""
    first, *rest = printable(line.text).split("\n")
    return "\n".join([f"{head}  {first}".rstrip(), *(f"{'':<{len(head)}}  {part}".rstrip() for part in rest)])


def _colored(line: LogLine, text: str) -> str:
    style = "bright_black" if line.cut else STYLES.get(line.level or "")
    return click.style(text, fg=style) if style and not os.environ.get("NO_COLOR") else text
