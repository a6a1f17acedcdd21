"""The group whose commands are modules, imported when they are called; and the command class they use."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import click

from runner.cli.terminal.options import project_option
from runner.errors import UsageError

_GLOBAL = frozenset({"--project", "--help"})
"""Options that every command has: help lists them last."""


class WithExample(click.Command):
    """A command whose help ends with an example."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then those that every command has."""
        shown = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        everywhere = [param for param in shown if not _GLOBAL.isdisjoint(param.opts)]
        for heading, params in (
            ("Options", [param for param in shown if param not in everywhere]),
            ("Global options", everywhere),
        ):
            records = [record for param in params if (record := param.get_help_record(ctx)) is not None]
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example as it stands: it is there to be copied."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line; a param without ``-p`` before it is recognized.

        Raises:
            UsageError: there is an argument too many.
        """
        may_have_more = ctx.allow_extra_args
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if rest and not may_have_more and not ctx.resilient_parsing:
            raise self._unexpected(ctx, rest)
        return rest

    def _unexpected(self, ctx: click.Context, rest: list[str]) -> UsageError:
        what = f"unexpected argument {rest[0]!r}"
        if self.takes_params(ctx) and all(
            "=" in argument and argument.partition("=")[0].isidentifier() for argument in rest
        ):
            return UsageError(f"{what}, did you mean {' '.join(f'-p {shlex.quote(argument)}' for argument in rest)}?")
        return UsageError(what, hint=f"{ctx.command_path} --help")

    def takes_params(self, ctx: click.Context) -> bool:
        """Whether the command has ``-p NAME=VALUE``."""
        return any("-p" in param.opts for param in self.get_params(ctx))


class LazyGroup(WithExample, click.Group):
    """A group that knows its commands by name and one line of help.

    ``groups`` maps the headings of its help to names and such lines; the command is ``command`` of the module
    ``runner.cli.NAME``. ``meant`` maps names that do not exist to those that their users are likely to mean.
    """

    def __init__(
        self, *args: Any, groups: Mapping[str, Mapping[str, str]], meant: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.groups = groups
        self.meant = meant
        self.commands_by_name = {name: line for group in groups.values() for name, line in group.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of their declaration."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return a command."""
        if cmd_name not in self.commands_by_name:
            return None
        command: click.Command = import_module(f"runner.cli.{cmd_name}").command
        return command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, without importing one, and then the options."""
        width = max(map(len, self.commands_by_name))
        for heading, commands in self.groups.items():
            with formatter.section(heading):
                # Padded, so that the columns of all groups are aligned.
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])
        with formatter.section("Options"):
            formatter.write_dl([record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete the names of commands, and this group's options, without importing a command."""
        from click.shell_completion import CompletionItem  # start-up time: only the shell asks for this

        names = [name for name in self.commands_by_name if name.startswith(incomplete)]
        items = [CompletionItem(name, help=self.commands_by_name[name]) for name in names]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises:
            UsageError: there is none of this name.
        """
        if args and args[0] not in self.commands_by_name and not args[0].startswith("-"):
            raise self.no_command(args[0])
        return super().resolve_command(ctx, args)

    def no_command(self, name: str) -> UsageError:
        """Return the error for an unknown command, which names the one that was probably meant."""
        from difflib import get_close_matches  # start-up time: only an error needs it

        meant = self.meant.get(name.lower()) or next(iter(get_close_matches(name, self.commands_by_name, n=1)), None)
        return UsageError(f"no command {name!r}, " + (f"did you mean {meant}?" if meant else "see runner --help"))


def verb(*, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command: its short help and ``--project`` come with it; its function returns the exit code.

    Args:
        example: what its help ends with.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        name = function.__module__.rpartition(".")[2]
        command = click.command(name, cls=WithExample, example=example)(function)
        # After the command's own options, in help and in completion.
        return project_option(command)

    return decorate
