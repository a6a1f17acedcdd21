"""``runner help``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runner.cli.commands import COMMANDS
from runner.cli.terminal.group import LazyGroup, verb
from runner.cli.terminal.options import ParamType
from runner.cli.terminal.output import Output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class CommandName(ParamType):
    """The name of a command; the shell completes it."""

    name = "command"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        return [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]


@verb(example="runner help submit")
@click.argument("name", metavar="[COMMAND]", required=False, type=CommandName())
def command(name: str | None) -> int:
    """Show the help of a command, as `runner COMMAND --help` does, or the list of all commands."""
    ctx = click.get_current_context().find_root()
    group: Any = ctx.command
    assert isinstance(group, LazyGroup)
    if name is None:
        Output().data(ctx.get_help(), styled=True)
        return 0
    found = group.get_command(ctx, name)
    if found is None:
        raise group.no_command(name)
    with click.Context(found, info_name=name, parent=ctx, **found.context_settings) as inner:
        Output().data(found.get_help(inner), styled=True)
    return 0
