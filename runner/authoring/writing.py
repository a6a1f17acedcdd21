"""Write a job as YAML, and insert it into the text of a job file without changing the rest."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from runner.yaml_reader.parser import OPEN_PARSER
from runner.yaml_reader.scalar import Doubtful, resolve

_INDENT = 2
_LONGEST_LINE = 100
_PLAIN = re.compile(r"[A-Za-z_][\w./() '+-]*(?<! )|[\w.-]+:[\w.]+", re.ASCII)


class CannotInsert(Exception):
    """A job cannot be added to the file; the message has the reason."""


def job_text(name: str, options: Mapping[str, Any], notes: Mapping[str, str], indent: int = _INDENT) -> str:
    """Return a job as lines of YAML below ``jobs:``.

    Args:
        name: the name of the job.
        options: the options as in YAML.
        notes: comments for params.
        indent: the indentation of the name.
    """
    return "".join(" " * indent + line + "\n" for line in _lines(name, options, notes))


def _lines(name: str, options: Mapping[str, Any], notes: Mapping[str, str]) -> Iterator[str]:
    yield f"{name}:"
    for key, value in options.items():
        if key != "params":
            yield f"  {key}: {flow(value)}"
            continue
        yield "  params:"
        for param, schema in value.items():
            if param in notes:
                yield f"    # {param} {notes[param]}"
            line = f"    {flow(param)}: {flow(schema)}"
            if len(line) <= _LONGEST_LINE or not schema:
                yield line
                continue
            yield f"    {flow(param)}:"
            for keyword, rule in schema.items():
                yield f"      {keyword}: {flow(rule)}"


def flow(value: Any) -> str:
    """Return a JSON value on one line; texts are unquoted where no YAML reader takes them for another type."""
    if isinstance(value, str):
        return value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, float) and math.isfinite(value):
        # YAML requires a dot before an exponent.
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")
    return json.dumps(value)


def _is_plain(text: str) -> bool:
    if not _PLAIN.fullmatch(text):
        return False
    try:
        return bool(resolve(text) == text)
    except Doubtful:
        return False


def insert(text: str, name: str, options: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """Return the text of a job file with another job at the end of ``jobs:``; nothing else changes.

    Raises:
        CannotInsert: ``jobs`` is written in braces, or is not a mapping.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    root = _compose(text.removeprefix("\ufeff"))
    at, indent, head = _insertion_point(root, lines)
    if at and not lines[at - 1].endswith(("\n", "\r")):
        lines[at - 1] += newline
    added = head + job_text(name, options, notes, indent)
    return "".join([*lines[:at], added.replace("\n", newline), *lines[at:]])


def _compose(text: str) -> Any:
    loader = OPEN_PARSER(text)
    try:
        return loader.get_single_node()
    except yaml.YAMLError as error:
        raise CannotInsert("the file has a fault, runner validate tells which") from error
    finally:
        loader.dispose()


def _insertion_point(root: Any, lines: list[str]) -> tuple[int, int, str]:
    """Return the line to insert at, the indentation, and the text before the job."""
    if root is None or _is_null(root):
        return len(lines), _INDENT, "jobs:\n"
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise CannotInsert("the whole file is written in braces")
    for key, value in root.value:
        if key.value != "jobs":
            continue
        if _is_null(value):
            return key.start_mark.line + 1, _INDENT, ""
        if not isinstance(value, yaml.MappingNode) or value.flow_style or not value.value:
            raise CannotInsert("jobs is written in braces")
        if value.start_mark.line <= key.start_mark.line:
            raise CannotInsert("jobs is an alias")
        return _end_of(value, lines), value.value[0][0].start_mark.column, "\n"
    return len(lines), _INDENT, "\njobs:\n" if lines else "jobs:\n"


def _is_null(node: Any) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", "null", "~")


def _end_of(value: Any, lines: list[str]) -> int:
    """Return the line after a block, without empty lines and comments that belong to the next one."""
    end: int = value.end_mark.line
    if value.end_mark.column:
        end = len(lines)
    while end > 0 and (not lines[end - 1].strip() or lines[end - 1].startswith(("#", "...", "---"))):
        end -= 1
    return end
