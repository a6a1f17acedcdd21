"""The entry: builds the group, runs one command, turns what happened into an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from runner._version import __version__
from runner.cli.commands import COMMANDS
from runner.cli.terminal.faults import report_bug, report_click, report_error
from runner.cli.terminal.group import LazyGroup
from runner.cli.terminal.interrupts import Terminated, install
from runner.cli.terminal.options import project_option
from runner.errors import RunnerError, UsageError

PROGRAM = "runner"


def _show_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"{PROGRAM} {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    commands_by_name=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=True,
    example="runner init demo && cd demo && runner up -d && runner submit hello --wait",
)
@project_option
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show the version."
)
def root() -> None:
    """Run jobs that are declared in YAML on Celery and Redis, and learn what happened to every run."""


def run(words: Sequence[str], program: str = PROGRAM) -> int:
    """Run the command that ``words`` spell and return the exit code. Nothing is raised.

    Args:
        words: the command line without the program.
        program: its name, as help and usage show it.
    """
    _open_standard_streams()
    install()
    as_json = _wants_json(words)
    try:
        code = root.main(_readable(words), prog_name=program, standalone_mode=False)
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
    except BaseException as error:  # noqa: BLE001 - whatever is left is a bug, and the user gets no traceback
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else 70
        return report_bug(error, words, as_json=as_json)
    finally:
        _flush()


def _wants_json(words: Sequence[str]) -> bool:
    # Asked of the words, not of the parsed options: a command line that cannot be parsed is answered in JSON too.
    return any(word in ("--json", "--jsonl") for word in words[: words.index("--") if "--" in words else None])


def _readable(words: Sequence[str]) -> list[str]:
    """Return the words as text; a locale that is not UTF-8 (cron's is C) has left bytes in them that are.

    Raises:
        UsageError: one of them is neither in the locale's encoding nor in UTF-8.
    """
    found = []
    for word in words:
        try:
            word.encode("utf-8")
            found.append(word)
        except UnicodeEncodeError:
            try:
                found.append(os.fsencode(word).decode("utf-8"))
            except UnicodeDecodeError:
                shown = word.encode("utf-8", "backslashreplace").decode()
                raise UsageError(f"{shown!r} is not UTF-8", hint="write it in UTF-8, or give params as JSON") from None
    return found


def _open_standard_streams() -> None:
    """Make stdin, stdout and stderr usable, whatever the caller left of them."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # Closed by the caller (>&-). Open, or the next file or socket would get this number and the output.
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
    for stream in (sys.stdout, sys.stderr):
        # A character that the locale lacks (cron's is C) is shown as \uXXXX instead of ending the command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # A closed pipe is silent, also when the interpreter flushes once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
