"""``runner rerun``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.terminal.faults import error_document, worst
from runner.cli.terminal.follow import follow
from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import open_project
from runner.cli.terminal.options import READ_REFERENCE, json_option, quiet_option, timeout_option
from runner.cli.terminal.output import Output
from runner.cli.terminal.several_ids import codes_of, try_all
from runner.cli.terminal.submitted import submitting, warn_of_queue
from runner.errors import RunnerError, UsageError

if TYPE_CHECKING:
    from runner.ledger.submission import Submitted


@verb(example="runner rerun $(runner runs --job nightly-report --state failure --ids) --wait")
@click.argument("ids", nargs=-1, required=True, type=READ_REFERENCE, metavar="ID...")
@click.option(
    "--from-failed",
    is_flag=True,
    help="Of flows, run only the steps that did not succeed, and those that need them; keep the results of the others.",
)
@click.option("--wait", is_flag=True, help="Wait until the runs end; the exit code tells the outcome.")
@timeout_option
@quiet_option
@json_option
def command(
    ids: tuple[str, ...], from_failed: bool, wait: bool, timeout: float | None, quiet: bool, as_json: bool
) -> int:
    """Submit finished runs again with the same params, and print the new ids.

    The new runs use the current options of their jobs. If a run has not finished, it is refused with exit code 5. An ID
    is a full id, a unique prefix of 8 or more characters, or @JOB: the latest run of that job, which stderr names.

    With --from-failed, a step that had succeeded runs again only if it has changed since, or if a step that it needs
    runs again; the command says which, and why.
    """
    from runner.actions.find import find_id  # start-up time: --help reads no settings
    from runner.actions.rerun import rerun, steps_to_run
    from runner.actions.submit import new_id, submitted_document

    if timeout is not None and not wait:
        raise UsageError("--timeout needs --wait", hint="add --wait")
    project = open_project()
    out = Output(as_json=as_json, quiet=quiet)

    def one(reference: str) -> Submitted:
        if reference.startswith("@"):
            # Looked up once: another run of the job may begin at any time.
            latest = find_id(project, reference)
            out.note(f"{reference} is run {latest}")
            reference = latest
        if from_failed:
            _show_steps(out, steps_to_run(project, reference))
        run_id = new_id()
        with submitting(project, out, run_id):
            submitted = rerun(project, reference, from_failed=from_failed, run_id=run_id)
        if as_json:
            out.note(f"run {submitted.id}")
        else:
            out.data(submitted.id)
        if submitted.run is not None and not submitted.run.final:
            warn_of_queue(project, out, submitted.run.queue)
        return submitted

    found = try_all(out, ids, one)
    answers = [
        error_document(outcome) if isinstance(outcome, RunnerError) else submitted_document(project, outcome)
        for outcome in found
    ]
    made = [outcome.id for outcome in found if not isinstance(outcome, RunnerError)]
    codes = codes_of(found)
    code = worst(codes)
    if wait and made:
        code, runs = follow(project, out, made, timeout=timeout, codes=codes)
        latest = {run.id: {**run.document(), "duplicate": False} for run in runs}
        answers = [latest.get(str(answer.get("id")), answer) for answer in answers]
    if as_json and (code != 0 or not quiet):
        out.documents(answers, single=len(ids) == 1)
    return out.finish(code)


def _show_steps(out: Output, steps: dict[str, str | None]) -> None:
    """Print the steps that run, with the reason for each that had succeeded."""
    for name, reason in steps.items():
        out.note(f"step {name} runs again: {reason}" if reason else f"step {name} runs")
