"""Rewrite click's errors as the runner's own: one sentence, and the option that was probably meant."""

from __future__ import annotations

import re
from difflib import get_close_matches

import click

from runner.errors import UsageError

_SURE = 0.75
"""Similarity from which a wrong option is taken for a typo; ``--name`` and ``--param`` have 0.62."""


def usage_error(error: click.ClickException) -> UsageError:
    """Return the error to report."""
    ctx = getattr(error, "ctx", None)
    hint = f"{ctx.command_path} --help" if ctx is not None else None
    if isinstance(error, click.NoSuchOption):
        return _no_such_option(error, ctx, hint)
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        return UsageError(_bad_value(error), hint=hint)
    return UsageError(_plain(error.format_message()), hint=hint)


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:].rstrip(".")


def _no_such_option(error: click.NoSuchOption, ctx: click.Context | None, hint: str | None) -> UsageError:
    name = error.option_name
    what = f"no option {name}"
    if ctx is None:
        return UsageError(what)
    params = [param for param in ctx.command.get_params(ctx) if isinstance(param, click.Option) and not param.hidden]
    known = [option for param in params for option in (*param.opts, *param.secondary_opts)]
    close = get_close_matches(name, known, n=1, cutoff=_SURE)
    if close:
        return UsageError(f"{what}, did you mean {close[0]}?")
    param = name.lstrip("-").replace("-", "_")
    if "-p" in known and name.startswith("--") and param.isidentifier():
        return UsageError(f"{what}; if {param} is a param of the job, write -p {param}=VALUE", hint=hint)
    return UsageError(what, hint=hint)


def _bad_value(error: click.BadParameter) -> str:
    message = error.message.rstrip(".")
    param = error.param
    if param is not None and isinstance(param.type, click.Choice):
        given = re.match(r"'(.*?)' is not one of ", message)
        values = [str(choice) for choice in param.type.choices]
        close = get_close_matches(given[1], values, n=1) if given is not None else []
        if given is not None:
            message = f"{given[1]!r} is not one of {', '.join(values)}"
        message += f", did you mean {close[0]}?" if close else ""
    if isinstance(param, click.Option):
        return f"{max(param.opts, key=len)}: {message}"
    return message
