"""``runner submit``."""

from __future__ import annotations

import click

from runner.cli.terminal.declared import asked_for, declared_options
from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import JOB, json_option, params_options, quiet_option, timeout_option
from runner.cli.terminal.output import Output, warn_of_problems
from runner.cli.terminal.params import read_document
from runner.cli.terminal.submitted import print_submitted, submitting, warn_of_queue
from runner.errors import UsageError
from runner.model.submit_options import SubmitOptions


@verb(
    example=(
        "runner submit nightly-report -p day=2026-11-23 --wait\n"
        "runner submit nightly-report --params-file days.jsonl --key-from day | runner wait -\n"
        "0 2 * * *  runner submit nightly-report --wait --quiet --project /srv/reports   (in a crontab)"
    )
)
@click.argument("job", type=JOB)
@params_options
@click.option("--wait", is_flag=True, help="Wait until the run ends; the exit code tells the outcome.")
@timeout_option
@declared_options(SubmitOptions)
@click.option(
    "--params-file", "file", metavar="FILE|-", help="Submit a run for each line, a JSON object of params. -: stdin."
)
@click.option("--key-from", metavar="PARAM", help="With --params-file: use this param's value as the run's key.")
@quiet_option
@json_option
def command(
    job: str,
    assignments: tuple[str, ...],
    document: str | None,
    wait: bool,
    timeout: float | None,
    asked: dict[str, object],
    file: str | None,
    key_from: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Submit a run of JOB and print its id.

    With --wait, state changes and the outcome go to stderr, and the exit code is 0 for SUCCESS, 1 for FAILURE, and 3
    for REVOKED. If --timeout passes first, it is 124, and the run continues. On a terminal, the result is shown, too.

    With --params-file, each line that is not blank submits a run, and the ids are printed in the order of the lines. If
    a line is refused, its number is reported and the exit code is 2; the other lines are still submitted. Params of a
    line override --params, and -p overrides both.
    """
    from runner.actions.submit import new_id, submit  # start-up time: --help reads no settings
    from runner.params.reading import read_params

    _check_together(timeout=timeout, wait=wait, keyed="key" in asked, file=file, key_from=key_from, document=document)
    params = read_document(document)
    project = open_project()
    out = Output(as_json=as_json, quiet=quiet)
    warn_of_problems(out, project)
    options = asked_for(SubmitOptions, project, asked)
    if file is not None:
        from runner.actions.submit_many import BulkSubmission  # start-up time: most submissions are of one run
        from runner.cli.terminal.bulk import submit_lines

        bulk = BulkSubmission(project, job, key_from=key_from, options=options)
        over = read_params(bulk.job, assignments)
        return submit_lines(project, out, bulk, file, before=params, over=over, wait=wait, timeout=timeout)
    run_id = new_id()
    with submitting(project, out, run_id):
        submitted = submit(project, job, params, assignments=assignments, run_id=run_id, options=options)
    print_submitted(project, out, submitted, wait=wait)
    if submitted.run is not None and not submitted.run.final and not (quiet and not wait):
        warn_of_queue(project, out, submitted.run.queue)
    if not wait:
        return out.finish(0)
    from runner.cli.terminal.follow import follow  # start-up time: most submitters do not wait

    code, runs = follow(project, out, [submitted.id], timeout=timeout)
    if as_json and runs and (code != 0 or not quiet):
        out.document({**runs[-1].document(), "duplicate": submitted.duplicate})
    return out.finish(code)


def _check_together(
    *,
    timeout: float | None,
    wait: bool,
    keyed: bool,
    file: str | None,
    key_from: str | None,
    document: str | None,
) -> None:
    if timeout is not None and not wait:
        raise UsageError("--timeout needs --wait", hint="add --wait; a job's own limit is timeout in jobs.d")
    if key_from is not None and file is None:
        raise UsageError("--key-from needs --params-file", hint="give the key of a single run with --key")
    if keyed and file is not None:
        raise UsageError("--key names one run, and --params-file submits many", hint="use --key-from PARAM")
    if file == document == "-":
        raise UsageError("--params and --params-file both read stdin", hint="give one of them another file")
