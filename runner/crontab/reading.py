"""A crontab of people, read as Debian's cron does (crontab(5), and cronie's additions)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field

from runner._dataclass import dataclass
from runner.crontab.background import ampersands, hides_ampersand, in_foreground, starts_daemon
from runner.crontab.block import outside
from runner.crontab.fields import Fields
from runner.crontab.redirections import hidden_output
from runner.model.schedule import CRON_PATTERN
from runner.model.timezone import unknown_zone
from runner.schedule.cron import BadExpression, Cron

_SETTING = re.compile(r"""("[^"]*"|'[^']*'|[^\s="']+)\s*=\s*(.*)""")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAIL = ("MAILTO", "MAILFROM", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING")
_FIXED = ("LOGNAME", "USER")
_MAILED = (
    "a job that mails failures stands in the file as a comment, and so do the hooks that call it: remove the # there "
    "once it names your mail server; what a run prints is in runner logs"
)
_BOOT = (
    "it runs when the machine starts, which is not a time: leave it in the crontab, or have a unit of systemd call "
    "runner submit"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that runs something, and what holds for it.

    ``when`` is a sound cron expression, ``stdin`` None if nothing is written to the command, ``jitter`` in minutes.
    """

    line: int
    source: str
    when: str
    command: str
    stdin: str | None = None
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    comments: tuple[str, ...] = ()
    timezone: str | None = None
    jitter: int = 0
    mailto: str = ""
    """Whom cron mails what the command prints; empty if it mails nobody, or its user."""
    single: bool = False
    """Whether it starts only if it does not run any more (``-s`` of BSD's cron)."""
    notes: tuple[str, ...] = ()
    """What a job that stands for it does in another way."""


def _is_root(word: str) -> bool:
    return word == "root"


@dataclass(frozen=True, slots=True)
class Left:
    """A line that no job stands for, and why."""

    line: int
    source: str
    why: str


@dataclass(slots=True)
class Reading:
    """The content of a crontab."""

    entries: list[Entry] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    sender: str = ""
    """Whom its mails come from, if it says so (``MAILFROM``)."""


def read_crontab(text: bytes, *, system: bool = False, is_user: Callable[[str], bool] = _is_root) -> Reading:
    """Read a crontab; blocks of the runner are left out.

    Args:
        text: what ``crontab -l`` prints, or a file.
        system: the lines name a user, as those of /etc/crontab and /etc/cron.d do.
        is_user: whether a word is the name of a user, and not that of a program.

    Raises:
        BrokenBlock: see :func:`runner.crontab.block.find_block`.
    """
    return _Reader(system, is_user).read(text)


_DAY = r"(?i:sun|mon|tue|wed|thu|fri|sat)"
_TIME_FIELD = re.compile(
    rf"(?=.*[\d*?])[\d*?LW#,/~-]+|{_DAY}[#L][\dL]?|{_DAY}([-,]({_DAY}|[0-7]))+|(?:SUN|MON|TUE|WED|THU|FRI|SAT)"
)
_BLANKS = re.compile(r"[ \t]+")
"""What parts fields: to cron, no other character does, such as a no-break space."""
_COUNTS = {6: "six", 7: "seven", 8: "eight"}
_USER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?(:[A-Za-z0-9_.-]+)?(/[A-Za-z0-9_.-]+)?")
_ALSO_PROGRAMS = frozenset({"backup", "irc", "list", "lp", "mail", "man", "news", "sync"})
"""Users of Debian whose names are those of programs, too."""
_ANY_WORD = re.compile(r"[^-<>|&;]")
_COMMAND_WORD = re.compile(r"[/.~\[({]|(cd|if|test|command|exec|env|nice|sh|bash|python|perl|php|run-parts)\b")


class _Reader:
    def __init__(self, system: bool, is_user: Callable[[str], bool]) -> None:
        self.system = system
        self.is_user = is_user
        self.environment: dict[str, str] = {}
        self.timezone: str | None = None
        self.jitter = 0
        self.mailto = ""
        self.comments: list[str] = []
        self.reading = Reading()

    def read(self, text: bytes) -> Reading:
        for number, raw in outside(text.removeprefix(b"\xef\xbb\xbf")):
            try:
                line = raw.decode("utf-8").strip("\r\n").lstrip(" \t")
            except UnicodeDecodeError:
                self._leave(number, ascii(raw.rstrip(b"\r\n")), "it is not UTF-8")
                continue
            if "\0" in line:
                self._leave(number, line, "it has a NUL character")
            elif not line.strip():
                self.comments = []
            elif line.startswith("#"):
                self.comments.append(line.lstrip("#").strip())
            elif match := _SETTING.fullmatch(line):
                self._set(number, line, match[1].strip("\"'"), _unquoted(match[2]))
            else:
                self._enter(number, line)
                self.comments = []
        return self.reading

    def _leave(self, number: int, source: str, why: str) -> None:
        self.reading.left.append(Left(number, source, why))

    def _set(self, number: int, line: str, name: str, value: str) -> None:
        if name in _MAIL:
            if name == "MAILTO":
                self.mailto = value
            if name == "MAILTO" and value:
                self._leave(number, line, _MAILED)
            elif name == "MAILFROM":
                self.reading.sender = value
        elif name in _FIXED:
            self._leave(number, line, "cron does not let it be changed either")
        elif name == "CRON_TZ":
            self.timezone = value or None
            if value and not _is_zone(value):
                self.timezone = None
                self._leave(number, line, "it is not the name of a time zone; that of the host is meant instead")
        elif name == "RANDOM_DELAY" and re.fullmatch(r"[0-9]{1,5}", value):
            self.jitter = int(value)
        elif not _NAME.fullmatch(name) or name.startswith("RUNNER_"):
            self._leave(number, line, "a job cannot set this variable")
        else:
            self.environment[name] = value

    def _enter(self, number: int, line: str) -> None:
        count = 1 if line.startswith("@") else 5
        fields = [word for word in _BLANKS.split(line, count + self.system) if word]
        wanted = count + 1 + self.system
        if len(fields) < wanted:
            self._leave(number, line, "it is not a line that cron runs" + (", or names no user" * self.system))
            return
        when = " ".join(fields[:count]).removeprefix("-")
        why = self._odd(line, count) or _unsound(when)
        if why is not None:
            self._leave(number, line, why)
            return
        command, stdin = _split(fields[-1])
        command, flags = _without_flags(command.strip())
        if not command:
            self._leave(number, line, "it has no command")
            return
        notes = []
        if set(flags) - {"s"}:
            options = " and ".join(f"-{flag}" for flag in flags if flag != "s")
            notes.append(f"{options} of BSD's cron, about mail and its log, is left out")
        shell = self.environment.get("SHELL", "")
        front = in_foreground(command, shell)
        if front is not None:
            command = front
            notes.append("the & at its end is left out: a run lasts as long as its command, and what it left would end")
        if starts_daemon(command):
            notes.append(
                "it detaches what it starts, so the run does not wait for it and says nothing of its outcome: "
                "run the program itself, in the foreground"
            )
        elif hides_ampersand(command, shell):
            notes.append(
                "it starts something in the background, in parentheses or quotes: the run does not wait for it, and "
                "ends it; leave out that &, or write wait after it"
            )
        elif any(True for _ in ampersands(command, shell)):
            notes.append("it starts something in the background: the run waits for it")
        hidden = hidden_output(command)
        if hidden is not None and hidden.thrown_away:
            notes.append(
                f"its output is thrown away, so runner logs and reports of failures have none: leave out {hidden.text}"
            )
        elif hidden is not None:
            notes.append(
                f"its output goes to {hidden.target}, so runner logs and reports of failures have none: leave out "
                f"{hidden.text}"
            )
        self.reading.entries.append(
            Entry(
                line=number,
                source=line,
                when=when.lower() if when.startswith("@") else when,
                command=command,
                stdin=stdin,
                user=fields[count] if self.system else None,
                environment=dict(self.environment),
                comments=tuple(self.comments),
                timezone=self.timezone,
                jitter=self.jitter,
                mailto=self.mailto,
                single="s" in flags,
                notes=tuple(notes),
            )
        )

    def _odd(self, line: str, count: int) -> str | None:
        """Return the reason why a line probably means something else than it would be read as, or None."""
        words = _BLANKS.split(line)
        more = 0
        for word in words[count:]:
            if count == 1 or not _TIME_FIELD.fullmatch(word):
                break
            more += 1
        if more:
            return (
                f"it has {_COUNTS.get(5 + more, str(5 + more))} fields of time, and cron knows five: if the first are "
                "seconds (or the last a year), write the job by hand, with a cron expression of six fields"
            )
        user = words[count] if len(words) > count else ""
        if self.system:
            if not _USER_NAME.fullmatch(user):
                return f"{user!r} is not a user name: is this a crontab of one user? Read it without --system"
            return None
        following = words[count + 1] if len(words) > count + 1 else ""
        looks_so = _COMMAND_WORD if user in _ALSO_PROGRAMS else _ANY_WORD
        if user == "root" or (self.is_user(user) and looks_so.match(following)):
            return f"{user} is the name of a user: is this a system crontab? Read it with --system"
        return None


def _without_flags(command: str) -> tuple[str, str]:
    """Return the command without the flags that FreeBSD's and OpenBSD's cron take before it, and their letters."""
    flags = ""
    while match := re.match(r"-([nqs]+)(\s+|$)", command):
        flags += match[1]
        command = command[match.end() :]
    return command, "".join(dict.fromkeys(flags))


def _is_zone(name: str) -> bool:
    return unknown_zone(name) is None


def _unsound(when: str) -> str | None:
    """Return the reason why a job cannot have these times, or None."""
    if when.lower() == "@reboot":
        return _BOOT
    if not re.fullmatch(CRON_PATTERN[1:-1], when.lower() if when.startswith("@") else when):
        return f"{when!r} is not a time that the runner knows"
    try:
        cron = Cron(when.lower() if when.startswith("@") else when)
        cron.check_fires()
        Fields.of(cron.text)
    except BadExpression as bad:
        return str(bad)
    return None


def _unquoted(text: str) -> str:
    text = text.rstrip()
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return text[1:-1]
    return text


def _split(text: str) -> tuple[str, str | None]:
    r"""Return the command and its standard input: what follows the first ``%``, with the others as line ends.

    ``\%`` and ``\\`` are a percent sign and a backslash, in the command alone (measured with Debian's cron 3.0pl1).
    """
    command, at = "", 0
    while at < len(text) and text[at] != "%":
        if text[at] == "\\" and text[at + 1 : at + 2] in ("%", "\\"):
            at += 1
        command += text[at]
        at += 1
    if at == len(text):
        return command, None
    lines = re.sub(r"\\?%", lambda match: "%" if match[0] == r"\%" else "\n", text[at + 1 :])
    return command, lines if lines.endswith("\n") else lines + "\n"
