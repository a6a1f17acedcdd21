"""Reads what a docstring says of a function and its parameters: Google's, Sphinx' and NumPy's styles."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from docstring_parser import ParseError, parse

_KEYWORDS = re.compile(r"^(\s*)Keyword (?:Args|Arguments):\s*$", re.MULTILINE)
_BARE = re.compile(r"(?:Args|Arguments|Parameters|Params):\s*\n")
_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``([^`]*)``")


@dataclass
class Docstring:
    """The first paragraph, and the text of each parameter; plain text without markup, one line each."""

    summary: str = ""
    params: dict[str, str] = field(default_factory=dict)


def read_docstring(text: str) -> Docstring:
    """Read a docstring; what is not understood is left out."""
    # Two forms that the library does not know: a section of keyword arguments, and a section without a summary above.
    bare = _BARE.match(text) is not None
    known = _KEYWORDS.sub(r"\1Parameters:", text)
    try:
        parsed = parse(f"No summary.\n\n{known}" if bare else known)
    except ParseError:
        return Docstring(_plain(text.strip().partition("\n\n")[0]))
    summary = "" if bare else parsed.short_description or ""
    if parsed.long_description and not parsed.blank_after_short_description:
        # The first paragraph goes on after its first line.
        summary += " " + parsed.long_description.partition("\n\n")[0]
    params = {param.arg_name.lstrip("*"): _plain(param.description or "") for param in parsed.params}
    return Docstring(_plain(summary), params)


def _plain(text: str) -> str:
    text = _MARKUP.sub(lambda match: match[1] or match[2] or "", text)
    return " ".join(text.split())
