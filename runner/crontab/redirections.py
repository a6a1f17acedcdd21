"""Redirections by which a line of a crontab keeps its output from whoever runs it."""

from __future__ import annotations

import re

from runner._dataclass import dataclass

_QUOTED = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_FILE = r"[^\s;&|<>()]+"
_REDIRECTION = re.compile(
    rf"""
    (?<![<>&\d])
    (?: (?:&>>?|>&(?!\s*[\d-]))\s*(?P<all>{_FILE})       # both, as bash writes it
      | 1?>>?\s*(?P<both>{_FILE})\s*2>&1                 # both
      | 1?>>\s*(?P<out>{_FILE})(?:\s*2>>?\s*{_FILE})?    # added to a log: what is written anew may be the work itself
      | 2>>?\s*(?P<err>(?!/dev/null\b|&){_FILE})
    )
    """,
    re.VERBOSE,
)
_LOGGER = re.compile(r"(?:2>&1\s*)?\|&?\s*(?:/usr/bin/)?logger\b[^|;&]*")


@dataclass(frozen=True, slots=True)
class Hidden:
    """A redirection as it is written, and where it leads: a file, or ``logger``."""

    text: str
    target: str

    @property
    def thrown_away(self) -> bool:
        """Whether nobody ever sees the output."""
        return self.target == "/dev/null"


def hidden_output(command: str) -> Hidden | None:
    """Return the first redirection that leads the messages of a command elsewhere; None if all can be seen.

    ``> FILE`` alone is none: it is how the work of a command is kept, and errors can be seen.
    """
    # Quoted text is not a redirection, but the name of the file can be quoted.
    masked = _QUOTED.sub(lambda match: "q" * len(match[0]), command)
    found = _REDIRECTION.search(masked)
    if found is not None:
        name = next(name for name, text in found.groupdict().items() if text)
        return Hidden(command[found.start() : found.end()].strip(), command[found.start(name) : found.end(name)])
    piped = _LOGGER.search(masked)
    return Hidden(command[piped.start() : piped.end()].strip(), "logger") if piped is not None else None
