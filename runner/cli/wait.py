"""``runner wait``."""

from __future__ import annotations

import sys

import click

from runner.cli.terminal.faults import error_document
from runner.cli.terminal.follow import follow
from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import READ_REFERENCE, json_option, quiet_option, timeout_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.several_ids import codes_of, try_all
from runner.errors import RunnerError, UsageError


@verb(
    example=(
        "runner wait 3f2a9c41 --timeout 10m && echo done\n"
        "runner submit nightly-report --params-file days.jsonl | runner wait -"
    )
)
@click.argument("ids", nargs=-1, required=True, type=READ_REFERENCE, metavar="ID...")
@timeout_option
@quiet_option
@json_option
def command(ids: tuple[str, ...], timeout: float | None, quiet: bool, as_json: bool) -> int:
    """Wait until runs end. The exit code tells the outcome.

    It is 0 for SUCCESS, 1 for FAILURE, 3 for REVOKED, and 124 if --timeout passed. An ID is a full id, a unique prefix
    of 8 or more characters, or @JOB: the latest run of that job. With - as the only argument, the ids come from stdin,
    one per line.
    """
    from runner.actions.find import find_id  # start-up time: --help reads no settings

    references = list(ids) if ids != ("-",) else _read_ids()
    project = open_project()
    out = Output(as_json=as_json, quiet=quiet)
    found = try_all(out, references, lambda reference: find_id(project, reference))
    unique = list(dict.fromkeys(outcome for outcome in found if isinstance(outcome, str)))
    code, runs = follow(project, out, unique, timeout=timeout, codes=codes_of(found))
    if as_json and (code != 0 or not quiet):
        by_id = {run.id: run.document() for run in runs}
        answers = [
            error_document(outcome) if isinstance(outcome, RunnerError) else by_id[outcome]
            for outcome in found
            if isinstance(outcome, RunnerError) or outcome in by_id
        ]
        if answers:
            out.documents(answers, single=len(ids) == 1 and ids != ("-",))
    return out.finish(code)


def _read_ids() -> list[str]:
    """Return the ids on stdin.

    Raises:
        UsageError: there are no ids. The command that should have printed them has probably failed.
    """
    try:
        ids = [word.decode() for line in sys.stdin.buffer for word in [line.strip()] if word]
    except (OSError, UnicodeDecodeError):
        raise UsageError("stdin cannot be read as text", hint="write one id per line") from None
    if not ids:
        raise UsageError("no ids on stdin", hint="write one id per line, as runner submit and runner runs --ids do")
    return ids
