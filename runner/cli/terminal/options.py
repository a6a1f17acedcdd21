"""Options, and types of their values, that more than one command has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.errors import UsageError
from runner.model.duration import parse_duration

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # older versions of click have no type argument here

F = TypeVar("F", bound=Callable[..., Any])

PROJECT = "runner.project"
"""The key in the context for the folders that ``--project`` named."""


def _keep_project(ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> None:
    # After the command it replaces the one before, which may come from a shell alias.
    if value:
        ctx.meta[PROJECT] = value


project_option = click.option(
    "--project",
    metavar="DIR",
    callback=_keep_project,
    expose_value=False,
    is_eager=True,
    multiple=True,
    type=click.Path(),
    help="The project's folder; by default, the current folder or the nearest one above it.",
)
"""Stands before or after the command. Commands that show several projects take it more than once."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
jsonl_option = click.option("--jsonl", is_flag=True, help="Print a JSON object per line.")
utc_option = click.option("--utc", is_flag=True, help="Show times in UTC.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="Print nothing when the exit code is 0.")


def in_one_form(**asked: bool) -> None:
    """Check that at most one of the options for the output format was given; each is passed by its name.

    Raises:
        UsageError: more than one was given.
    """
    if sum(asked.values()) > 1:
        *names, last = (f"--{name}" for name in asked)
        raise UsageError(f"{', '.join(names)} and {last} cannot be combined", hint="use one of them")


class DurationType(ParamType):
    """A duration with a unit, such as 90s or 1h30m; seconds."""

    name = "duration"

    def __init__(self, *, positive: bool = False) -> None:
        self._positive = positive

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if self._positive and not seconds:
            self.fail(f"{value} is too short, write 1ms or more", param, ctx)
        return seconds


class WholeNumber(ParamType):
    """A whole number with bounds, both included."""

    name = "n"

    def __init__(self, minimum: int, maximum: int) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"[-+]?[0-9]{1,18}", value.strip()):
            self.fail(f"{value!r} is not a whole number", param, ctx)
        number = int(value)
        if not self.minimum <= number <= self.maximum:
            self.fail(f"{number} is out of range, write {self.minimum} to {self.maximum}", param, ctx)
        return number


DURATION = DurationType()
POSITIVE_DURATION = DurationType(positive=True)


def _queues(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the distinct names of queues. As in Celery, ``-Q a -Q b,c`` names three."""
    if not value:
        return ()
    from runner.model.queue_name import QUEUE_NAME  # start-up time: --help needs no model

    names = [name.strip() for names in value for name in names.split(",")]
    for name in names:
        if not re.fullmatch(str(QUEUE_NAME.pattern), name):
            raise click.BadParameter(f"{name!r} is not a valid queue name, {QUEUE_NAME.advice}.")
    return tuple(dict.fromkeys(names))


timeout_option = click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="Stop waiting after this time; the run continues."
)


class JobType(ParamType):
    """A job's name; the shell completes it."""

    name = "job"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        return [CompletionItem(name) for name in _job_names(ctx) if name.startswith(incomplete)]


class ReferenceType(ParamType):
    """An id, a prefix of one, or @JOB; the shell completes @JOB."""

    name = "id"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        return [CompletionItem(f"@{name}") for name in _job_names(ctx) if f"@{name}".startswith(incomplete)]


def _job_names(ctx: click.Context) -> list[str]:
    from runner.actions.project import Project  # start-up time: only the shell asks for this

    try:
        folders = ctx.meta.get(PROJECT) or (None,)
        return sorted({name for folder in folders for name in Project.open(folder).catalog.jobs})
    except Exception:  # noqa: BLE001 - an error message would garble the prompt
        return []


JOB = JobType()
READ_REFERENCE = ReferenceType()


def params_options(function: F) -> F:
    """Add ``-p`` and ``--params``."""
    assignments = click.option(
        "-p",
        "--param",
        "assignments",
        multiple=True,
        metavar="NAME=VALUE",
        help="Set a param; the value is read as the declared type.",
    )
    document = click.option(
        "--params", "document", metavar="JSON|@FILE|-", help="Set params from a JSON object; -p overrides them."
    )
    return assignments(document(function))


log_format_option = click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log text, or a JSON object per line.",
)


def worker_options(function: F) -> F:
    """Add the options of a worker."""
    for add in (
        click.option(
            "--log-level",
            type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
            default="INFO",
            show_default=True,
            help="Log messages of this level and above.",
        ),
        log_format_option,
        click.option(
            "--pool",
            "-P",
            type=click.Choice(["prefork", "threads", "solo"]),
            default="prefork",
            show_default=True,
            help="How to perform runs. Only prefork supports timeout, env, and --terminate.",
        ),
        click.option(
            "--queue",
            "-Q",
            "queues",
            multiple=True,
            metavar="NAME",
            callback=_queues,
            help="Take runs from this queue; repeat it, or separate names by commas. By default, worker.queues.",
        ),
        click.option(
            "--concurrency",
            "-c",
            type=WholeNumber(1, 1024),
            help="How many runs to perform at a time; by default, worker.concurrency of runner.yaml.",
        ),
        click.option(
            "--no-wait",
            is_flag=True,
            help="Exit with 69 if Redis is down at the start, instead of waiting for it.",
        ),
    ):
        function = add(function)
    return function
