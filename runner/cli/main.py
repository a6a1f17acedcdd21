"""The entry point: builds the command group, runs one command, and turns its outcome into an exit code."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence

import click

from runner._version import __version__
from runner.cli.commands import GROUPS, MEANT
from runner.cli.terminal.faults import report_bug, report_click, report_error
from runner.cli.terminal.group import LazyGroup
from runner.cli.terminal.interrupts import Terminated, install
from runner.cli.terminal.options import project_option
from runner.errors import RunnerError, UsageError

PROGRAM = "runner"

_JSON_OPTIONS = frozenset({"--json", "--jsonl", "-ojson", "-ojsonl", "--output=json", "--output=jsonl"})


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    groups=GROUPS,
    meant=MEANT,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
    example="runner init demo && cd demo && runner up -d && runner submit hello --wait",
)
@project_option
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def root() -> None:
    """Run jobs declared in YAML on Celery and Redis, and see what happened to every run."""


def run(arguments: Sequence[str], program: str = PROGRAM) -> int:
    """Run a command and return its exit code. Nothing is raised.

    Args:
        arguments: the command line without the program.
        program: its name, as help and usage show it.
    """
    _open_standard_streams()
    install()
    as_json = _wants_json(arguments)
    try:
        code = root.main(_decoded(arguments), prog_name=program, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as exited:
        return exited.exit_code
    except click.ClickException as error:
        return report_click(error, as_json=as_json)
    except RunnerError as error:
        return report_error(error, as_json=as_json)
    except Terminated:
        return 143
    except (KeyboardInterrupt, click.Abort, EOFError):
        return 130
    except BaseException as error:  # noqa: BLE001 - everything else is a bug, and the user gets no traceback
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 70
        return report_bug(error, arguments, as_json=as_json)
    finally:
        _flush()


def _wants_json(arguments: Sequence[str]) -> bool:
    # The parsed options are of no use here: an error in a command line that cannot be parsed is JSON too.
    options = arguments[: arguments.index("--") if "--" in arguments else None]
    if not _JSON_OPTIONS.isdisjoint(options):
        return True
    return any(
        option in ("-o", "--output") and value in ("json", "jsonl") for option, value in itertools.pairwise(options)
    )


def _decoded(arguments: Sequence[str]) -> list[str]:
    """Return the arguments as text. Where the locale is not UTF-8 (cron's is C), UTF-8 in them is still undecoded.

    Raises:
        UsageError: one of them is neither in the locale's encoding nor in UTF-8.
    """
    decoded = []
    for argument in arguments:
        try:
            argument.encode("utf-8")
            decoded.append(argument)
        except UnicodeEncodeError:
            try:
                decoded.append(os.fsencode(argument).decode("utf-8"))
            except UnicodeDecodeError:
                shown = argument.encode("utf-8", "backslashreplace").decode()
                raise UsageError(
                    f"argument {shown!r} is not UTF-8", hint="write it in UTF-8, or give params as JSON"
                ) from None
    return decoded


def _open_standard_streams() -> None:
    """Make stdin, stdout, and stderr usable, even if the caller closed them."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # Closed by the caller (>&-). Open, or the next file or socket would get this number and the output.
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        # A character that the locale cannot encode (cron's is C) is printed as \uXXXX instead of ending the command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # A closed pipe is not an error, not even when the interpreter flushes again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
