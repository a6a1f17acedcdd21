"""The group whose commands are modules, imported when they are called; and the command class they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from runner.cli.terminal.options import project_option


class WithExample(click.Command):
    """A command whose help ends with an example."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example as it stands: it is there to be copied."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class LazyGroup(WithExample, click.Group):
    """A group that knows its commands by name and one line of help.

    ``commands_by_name`` maps a name to that line; the command is ``command`` of the module
    ``runner.cli.NAME``.
    """

    def __init__(self, *args: Any, commands_by_name: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_by_name = commands_by_name

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of their declaration: the most used first."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in self.commands_by_name:
            return None
        command: click.Command = import_module(f"runner.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.commands_by_name.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands, and this group's options, without importing a command."""
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        names = [name for name in self.commands_by_name if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self.commands_by_name[name]) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args and args[0] not in self.commands_by_name and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.commands_by_name, n=1)
            guess = f", did you mean {close[0]}?" if close else "; runner --help lists the commands"
            raise click.UsageError(f"no command {args[0]!r}{guess}", ctx)
        return super().resolve_command(ctx, args)


def verb(*, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command: its short help and ``--project`` come with it; its function returns the exit code.

    Args:
        example: what its help ends with.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        name = function.__module__.rpartition(".")[2]
        return click.command(name, cls=WithExample, example=example)(project_option(function))

    return decorate
