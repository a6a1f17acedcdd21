"""``runner validate``."""

from __future__ import annotations

import click

from runner.cli.frame.group import verb
from runner.cli.frame.opening import named_project, open_project
from runner.cli.frame.options import json_option
from runner.cli.frame.output import Output, printable

INVALID = 2


@verb(example="runner validate\nrunner validate jobs.d/reports.yaml")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH...]")
@json_option
def command(paths: tuple[str, ...], as_json: bool) -> int:
    """Check the project, or the named files and folders of jobs.

    Prints nothing and exits 0 if all is well; else every problem with its line and column, and exit code 2.
    """
    from runner.actions.validate import validate, validate_paths  # start-up time: --help reads no settings
    from runner.spec.problem import summary

    catalog = validate_paths(paths, named_project()) if paths else validate(open_project())
    out = Output(as_json=as_json)
    if as_json:
        out.document(
            {
                "problems": [problem.as_dict() for problem in catalog.problems],
                "warnings": list(catalog.warnings),
                "jobs": len(catalog.jobs),
                "files": catalog.files,
            }
        )
    else:
        # The problems are what was asked for, so they are data, as with every linter.
        for problem in catalog.problems:
            out.data(printable(str(problem)))
        if catalog.problems:
            out.note(summary(catalog.problems))
        for text in catalog.warnings:
            out.warn(text)
    return INVALID if catalog.problems else 0
