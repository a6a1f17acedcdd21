"""``runner completion``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.output import Output
from runner.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@verb(example='eval "$(runner completion bash)"      # in ~/.bashrc')
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def command(shell: str | None) -> int:
    """Print the script that completes commands, options, and job names in a shell; by default, in $SHELL."""
    from click.shell_completion import get_completion_class  # start-up time: only this command needs it

    from runner.cli.main import PROGRAM, root

    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        raise UsageError(
            "the shell in $SHELL is none of bash, zsh, and fish", hint=f"name it: runner completion {'|'.join(SHELLS)}"
        )
    Output().data(found(root, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source())
    return 0
