"""``runner validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.opening import named_project
from runner.cli.terminal.options import POSITIVE_DURATION, json_option
from runner.cli.terminal.output import Output
from runner.errors import UsageError
from runner.model.plural import things

if TYPE_CHECKING:
    from runner.actions.validate import Verdict

INVALID = 2


@verb(
    example="runner validate\nrunner validate jobs.d/reports.yaml\nrunner validate --imports\n"
    "runner validate --format sarif > runner.sarif"
)
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH...]")
@click.option(
    "--imports",
    is_flag=True,
    help="Also import each job's module, in a separate process, and compare params with signatures.",
)
@click.option(
    "--import-timeout",
    type=POSITIVE_DURATION,
    metavar="DURATION",
    help="Time limit for importing one module; 10s by default.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "github", "sarif"]),
    default="text",
    show_default=True,
    help="Print text, annotations for GitHub Actions, or SARIF 2.1.0.",
)
@json_option
def command(paths: tuple[str, ...], imports: bool, import_timeout: float | None, form: str, as_json: bool) -> int:
    """Check the project, or only the given job files and folders.

    Prints each problem with its line and column, and exits with 2. If there is no problem, the exit code is 0, and
    nothing is printed except on a terminal. Warnings do not change the exit code.
    """
    from runner.actions.validate import IMPORT_SECONDS, validate  # start-up time: --help reads no settings
    from runner.cli.terminal.problem_text import show_problems
    from runner.yaml_reader.problem import summary

    if as_json and form != "text":
        raise UsageError("--json and --format cannot be combined", hint="use one of them")
    if import_timeout is not None and not imports:
        raise UsageError("--import-timeout needs --imports", hint="add --imports")
    verdict = validate(paths, named_project(), imports=imports, import_seconds=import_timeout or IMPORT_SECONDS)
    out = Output(as_json=as_json)
    if as_json:
        out.document(
            {
                "problems": [problem.as_dict() for problem in verdict.problems],
                "warnings": list(verdict.warnings),
                "jobs": verdict.jobs,
                "files": verdict.files,
            }
        )
    else:
        show_problems(out, verdict.problems, form, verdict.base)
        for text in verdict.warnings:
            out.warn(text)
        if not verdict.sound:
            out.note(summary(verdict.problems))
        elif out.for_people and form == "text":
            jobs, files = things(verdict.jobs, "job"), things(verdict.files, "file")
            out.note(f"{jobs} in {files}, no problems{_warnings(verdict)}")
    return 0 if verdict.sound else INVALID


def _warnings(verdict: Verdict) -> str:
    found = len(verdict.warnings) + sum(problem.severity == "warning" for problem in verdict.problems)
    return f", {things(found, 'warning')}" if found else ""
