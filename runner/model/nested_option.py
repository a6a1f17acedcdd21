"""Write an option of another option as YAML in one line: ``retry: {max_retries: 3}``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from runner.model.message import SHELL, ShellOption, as_message
from runner.model.value_type import INVALID, Path, ValueType, ignore

OptionsOf = Callable[[type], Mapping[str, Any]]

_PLAIN = re.compile(r"[A-Za-z/][\w./@+ -]*[\w./@+-]|[A-Za-z/]|[0-9]+(?:ms|[smhdw]|[KMG]iB)")
_LONGEST = 160
"""Characters of a value that a message repeats."""
_NOT_TEXT = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def one_line_yaml(value: Any) -> str:
    """Return a value as YAML in one line, such as ``{script: echo hi}``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {one_line_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(one_line_yaml, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def nested_remedy(options_of: OptionsOf, section: type, meant: str, given: Mapping[str, Any], value: Any) -> str:
    """Return the advice to write the option ``meant``, such as ``retry.max_retries``, with the value of a wrong key.

    Args:
        options_of: returns the options that a section declares, by their key.
        section: the dataclass that declares the options beside the wrong key.
        meant: the dotted path of the option.
        given: the options that the file has beside the wrong key.
        value: the value of the wrong key; an example stands for it where the option does not accept it.
    """
    outer, *inner = meant.split(".")
    there = given.get(outer)
    nested = _nest(options_of, options_of(section)[outer].type, inner, value)
    if isinstance(there, Mapping):
        # Only what is new, because the mapping may be long.
        for depth, key in enumerate(inner[:-1]):
            if not isinstance(there.get(key), Mapping):
                above = ".".join([outer, *inner[:depth]])
                return f"write {key}: {one_line_yaml(_at(nested, inner[: depth + 1]))} under {above}"
            there = there[key]
        return f"write {inner[-1]}: {one_line_yaml(_at(nested, inner))} under {meant.rpartition('.')[0]}"
    if isinstance(there, str) and "cron" in nested:
        nested = {**nested, "cron": there}  # a schedule may be only its cron expression
    return f"write {outer}: {one_line_yaml(nested)}"


def shell_remedy(kwarg: str, given: Mapping[str, Any], value: Any, aliases: Mapping[str, str]) -> str:
    """Return the advice for a key that is a kwarg of the stock task for commands.

    Args:
        kwarg: the kwarg, such as ``script``.
        given: the options of the job or step.
        value: the value of the wrong key.
        aliases: the names of other tools, of which ``given`` may have more.
    """
    if kwarg in _RUN:
        kwarg = "script" if isinstance(value, str) else "command" if isinstance(value, list) else kwarg
        fits = isinstance(value, str | list) and bool(value)
    else:
        fits = isinstance(value, str)
    written = f"{kwarg}: {one_line_yaml(value if fits else _EXAMPLES[kwarg])}"
    if len(written) > _LONGEST:
        return f"write task: {SHELL}, and move {'the text' if kwarg == 'script' else 'it'} to kwargs as {kwarg}"
    beside = kwarg not in _RUN and runs_command(given, aliases)
    if isinstance(given.get("kwargs"), Mapping) or beside:
        return f"write {written} under kwargs" + ("" if beside else _of_task(given))
    return (
        f"write kwargs: {{{written}}}"
        if given.get("task") == SHELL
        else f"write task: {SHELL} and kwargs: {{{written}}}"
    )


_RUN = ("command", "script")
_EXAMPLES = {"command": ["echo", "hi"], "script": "echo hi", "cwd": "/srv", "grace": "30s"}


def _of_task(given: Mapping[str, Any]) -> str:
    return "" if given.get("task") == SHELL else f" of task: {SHELL}"


def runs_command(given: Mapping[str, Any], aliases: Mapping[str, str]) -> bool:
    """Return whether a job or step has a key of another tool for the command to run."""
    meant = (aliases.get(key) for key in given)
    return any(isinstance(alias, ShellOption) and alias.kwarg in _RUN for alias in meant)


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        value = value[key]
    return value


def _nest(options_of: OptionsOf, value_type: Any, inner: Sequence[str], value: Any) -> Any:
    """Return a mapping that has ``value`` at the path ``inner``, and that the type accepts if possible."""
    # A list of sections, such as schedule, accepts one of them, too.
    known = options_of(getattr(value_type, "section", value_type).cls)
    declared = known[inner[0]]
    if inner[1:]:
        held = [_nest(options_of, declared.type, inner[1:], value)]
    else:
        held = [
            reading
            for reading in (*_readings(declared.type, value), *declared.examples)
            if _takes(declared.type, reading)
        ] or [value]
    examples = {key: option.examples[0] for key, option in known.items() if option.examples}
    required = {key: examples[key] for key, option in known.items() if option.required and key in examples}
    first = {key: examples[key] for key in list(examples)[:1]}
    tried = [{**more, inner[0]: held[0]} for more in ({}, required, first)]
    return next((candidate for candidate in tried if _takes(value_type, candidate)), tried[0])


def _readings(value_type: ValueType, value: Any) -> Iterator[Any]:
    """Yield a value and what it may have been meant to be: an item of a list, a number of seconds, or a suggestion."""
    yield value
    yield [value]
    yield f"{value}s"
    suggested: list[str] = []

    def note(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        suggested.append(as_message(message).replacement)

    value_type.read(value, (), note)
    yield from suggested


def _takes(value_type: ValueType, value: Any) -> bool:
    return value_type.read(value, (), ignore) is not INVALID


__all__ = ["nested_remedy", "one_line_yaml", "runs_command", "shell_remedy"]
