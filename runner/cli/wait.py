"""``runner wait``."""

from __future__ import annotations

import click

from runner.cli.frame.faults import error_document
from runner.cli.frame.follow import follow
from runner.cli.frame.group import verb
from runner.cli.frame.opening import open_project
from runner.cli.frame.options import READ_REFERENCE, json_option, quiet_option, timeout_option
from runner.cli.frame.output import Output
from runner.errors import RunnerError, Unavailable


@verb(example="runner wait 3f2a9c41 --timeout 10m && echo done")
@click.argument("ids", nargs=-1, required=True, type=READ_REFERENCE, metavar="ID...")
@timeout_option
@quiet_option
@json_option
def command(ids: tuple[str, ...], timeout: float | None, quiet: bool, as_json: bool) -> int:
    """Wait until runs have ended; the exit code tells the outcome.

    0 for SUCCESS, 1 for FAILURE, 3 for REVOKED, 124 if --timeout passed. An ID is a full id, a unique prefix of 8
    or more characters, or @JOB: the latest run of that job.
    """
    from runner.actions.find import find_id  # start-up time: --help reads no settings

    project = open_project()
    out = Output(as_json=as_json, quiet=quiet)
    found: dict[str, str] = {}
    failed: dict[str, RunnerError] = {}
    for reference in ids:
        try:
            found[reference] = find_id(project, reference)
        except Unavailable:
            raise
        except RunnerError as error:
            failed[reference] = error
            if not as_json:
                out.error(error)
    codes = [error.exit_code for error in failed.values()]
    unique = list(dict.fromkeys(found.values()))
    code, runs = follow(project, out, unique, timeout=timeout, codes=codes)
    if as_json and (code != 0 or not quiet):
        by_id = {run.id: run.document() for run in runs}
        answers = [
            error_document(failed[reference]) if reference in failed else by_id[found[reference]]
            for reference in ids
            if reference in failed or found[reference] in by_id
        ]
        if answers:
            out.documents(answers, single=len(ids) == 1)
    return out.finish(code)
