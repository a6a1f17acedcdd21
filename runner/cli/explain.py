"""``runner explain``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from runner.cli.terminal.group import verb
from runner.cli.terminal.options import ParamType, json_option
from runner.cli.terminal.output import Output

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from runner.authoring.option_help import OptionHelp
    from runner.model.option import Path

WIDEST = 110
NARROWEST = 50


class OptionPath(ParamType):
    """The dotted path of an option; the shell completes it."""

    name = "option"

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        # start-up time: only the shell asks for this
        from click.shell_completion import CompletionItem

        from runner.authoring.option_help import completions

        return [CompletionItem(entry.path, help=entry.declared.help) for entry in completions(incomplete)]


@verb(example="runner explain jobs.retry.backoff\nrunner explain runner.worker\nrunner explain timeout")
@click.argument("option", metavar="[OPTION]", required=False, type=OptionPath())
@json_option
def command(option: str | None, as_json: bool) -> int:
    """Explain an option of job files (jobs...) or of runner.yaml (runner...): its values, default, and an example.

    For a section, the options in it are listed. You can leave out jobs or runner if only one of them has such an
    option, and you can paste the path that validate prints, such as jobs.nightly-report.retry.max_retries.
    """
    # start-up time: --help knows no model
    from runner.authoring.option_help import ROOTS
    from runner.authoring.option_search import look_up

    out = Output(as_json=as_json)
    found = [look_up(option)] if option is not None else list(ROOTS)
    if as_json:
        out.documents([entry.document() for entry in found], single=option is not None)
    elif option is None:
        out.data(_roots(found))
    else:
        out.data(_text(found[0]))
    return 0


def _roots(roots: list[OptionHelp]) -> str:
    formatter = _formatter()
    formatter.write_dl([(entry.path, f"{entry.declared.help} See runner explain {entry.path}.") for entry in roots])
    return formatter.getvalue().rstrip("\n")


def _formatter() -> click.HelpFormatter:
    return click.HelpFormatter(width=max(min(shutil.get_terminal_size().columns - 2, WIDEST), NARROWEST))


def _text(option: OptionHelp) -> str:
    formatter = _formatter()
    formatter.write(f"{option.path}\n")
    formatter.indent()
    formatter.write_text(option.declared.help)
    formatter.write_paragraph()
    facts = [("Type:", option.type)]
    if option.declared.required:
        facts.append(("Required:", "yes"))
    elif not option.options:
        facts.append(("Default:", "none" if option.default in (None, [], {}) else _inline(option.default)))
    if option.variable is not None:
        facts.append(("Variable:", option.variable))
    formatter.write_dl(facts)
    if option.examples:
        first, *others = option.examples
        with formatter.section("Example"):
            for line in [*example_lines(option.at, first), *(f"# or: {_inline(other)}" for other in others)]:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
    if option.options:
        with formatter.section("Options"):
            formatter.write_dl([(entry.declared.key, entry.declared.help) for entry in option.options])
    return formatter.getvalue().rstrip("\n")


def example_lines(at: Path, value: Any) -> list[str]:
    """Return ``value`` as lines of YAML, with the keys that stand around it in a file."""
    lines, indent, dash = [], "", ""
    for step in at:
        if isinstance(step, int):
            dash = "- "
            continue
        lines.append(f"{indent}{dash}{_inline(step)}:")
        indent, dash = f"{indent}  {'':{len(dash)}}", ""
    if isinstance(value, Mapping):
        return [*lines, *(f"{indent}{dash}{_inline(key)}: {_inline(item)}" for key, item in value.items())]
    return [*lines[:-1], f"{lines[-1]} {_inline(value)}"]


def _inline(value: Any) -> str:
    """Return a value as it would stand in YAML, in one line."""
    import yaml  # start-up time: --help shows no example

    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.strip().removesuffix("...").strip()
