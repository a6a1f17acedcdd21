"""Commands that a line of a crontab starts in the background.

Cron starts a shell and forgets it; a run ends with its shell, and takes along whatever that left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_REDIRECTING = ("bash", "zsh", "ksh", "mksh")
_END = re.compile(
    r"\s*(?P<close>[)}](\s*\d*[<>]{1,2}&?\s*[^\s;&|<>()]+)*)?"
    r"\s*(disown(\s+-[ahr]+)*(\s+%?[\w$!%]+)?\s*)?;?\s*((?<=[\s;&)])#.*)?"
)
"""What may follow the last ``&`` without a meaning of its own."""
_INNER = re.compile(
    r"(?:^|[\s/;&|(])(?:sh|ash|bash|dash|ksh|zsh|su|runuser)\s(?:[^;&|'\"]*\s)?-[a-z]*c\s+"
    r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")"""
)
"""A command in quotes that another shell reads."""
_BACKQUOTED = re.compile("`([^`]*)`")
_DAEMON = re.compile(
    r"(?:^|[\s/;&|(])(?:screen\s(?=.*-(?:[a-zA-Z]*d[a-zA-Z]*m|m\s+-d|d\s+-m))|tmux\s[^;&|]*\s-[A-Za-z]*d"
    r"|start-stop-daemon\s[^;&|]*(?:--background|\s-[a-zA-Z]*b)\b|(?:daemon(?:ize)?|coproc)\s"
    r"|systemd-run\s(?![^;&|]*--(?:wait|scope|pty|pipe)\b)|setsid\s+(?:-\w*f|--fork)\b)"
    r"|(?:^|[;&|(]\s*)(?:/usr/bin/)?(?:at|batch)(?:\s+(?!-[lcrdV])|\Z)"
)
_SETSID = re.compile(r"(?:^|[\s/;&|(])setsid\s")


def starts_daemon(command: str) -> bool:
    """Return whether the command names a program that detaches what it starts, such as ``screen -dm``."""
    return _DAEMON.search(command) is not None


def leaves_its_shell(command: str) -> bool:
    """Return whether the command runs ``setsid``, which forks and ends at once where it leads a process group.

    It does if the shell replaces itself by its only command, as bash does.
    """
    return _SETSID.search(command) is not None


def hides_ampersand(command: str, shell: str = "") -> bool:
    """Return whether an ``&`` starts something that the shell of the command cannot wait for.

    It stands in parentheses, whose shell ends before, in backquotes, or in quotes that another shell reads.
    """
    if any(depth for _, depth in _found(command, shell)):
        return True
    inner = [single or double for single, double in _INNER.findall(command)] + _BACKQUOTED.findall(command)
    return any(True for text in inner for _ in _found(text, ""))


def ampersands(command: str, shell: str = "") -> Iterator[int]:
    """Yield the positions of ``&`` that put a command in the background, not those in quotes, ``&&``, or ``>&``.

    ``&>`` is a redirection to some shells only, such as bash; ``sh`` reads it as an ``&`` and a redirection.
    """
    for at, _ in _found(command, shell):
        yield at


def _found(command: str, shell: str) -> Iterator[tuple[int, int]]:
    """Yield the position and the nesting depth of each ``&`` that puts a command in the background."""
    redirects = shell.rpartition("/")[2] in _REDIRECTING
    quote, at, depth = "", 0, 0
    while at < len(command):
        char = command[at]
        if quote:
            if char == "\\" and quote == '"':
                at += 1
            elif char == quote:
                quote = ""
        elif char == "\\":
            at += 1
        elif char in "'\"`":
            quote = char
        elif command.startswith("$((", at) and (end := command.find("))", at)) > 0:
            at = end + 1  # arithmetic
        elif char == "(":
            depth += 1
        elif char == ")":
            depth = max(0, depth - 1)  # a pattern of case has no opening one
        elif char == "#" and (at == 0 or command[at - 1].isspace() or command[at - 1] in ";&|()"):
            end = command.find("\n", at)
            at = len(command) if end < 0 else end
        elif char == "&":
            before, after = command[at - 1 : at] if at else "", command[at + 1 : at + 2]
            if after == "&":
                at += 1
            elif not (before and before in "<>|;") and not (after == ">" and redirects):  # ;& belongs to case
                yield at, depth
        at += 1


def in_foreground(command: str, shell: str = "") -> str | None:
    """Return the command without the ``&`` at its end, None if it has none there."""
    found = list(ampersands(command, shell))
    if not found:
        return None
    end = _END.fullmatch(command, found[-1] + 1)
    if end is None:
        return None
    kept = command[: found[-1]].rstrip()
    if end["close"]:
        return f"{kept}; {end['close']}"
    return kept or None
