"""A file of jobs out of a crontab, commented."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from runner._dataclass import dataclass
from runner.crontab.background import ampersands, leaves_its_shell
from runner.crontab.naming import free_name, name_of
from runner.crontab.reading import Entry, Left, Reading

_PLAIN = re.compile(r"(?!(true|false|yes|no|on|off|null|none)$)[a-z][a-z0-9._-]+")
"""Names that YAML takes for a text as they stand."""
_SHELLS = ("", "/bin/sh", "/usr/bin/sh")
_POSIX = ("sh", "dash", "bash", "ksh", "zsh", "ash", "mksh")
_WAIT = "trap wait EXIT"
"""Has a shell wait for what it started in the background, and keeps its exit status."""
_SEVERAL = re.compile(r";|\n")

MAILING = "mail-failures"

HEAD = """\
# yaml-language-server: $schema=../schema/jobs.schema.json
# Written by `runner init --from-crontab`. Each job runs what a line of the crontab runs, at its times; what it is named
# after can be changed. Comment those lines out before the schedules run here, or all of it runs twice.
#
# What is different: a run that was missed is made up for (`catchup: none` in its schedule forbids it); an exit status
# that is not 0 is a failure; output goes to the log and the result of the run, and is not mailed.
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a crontab does not say. ``home`` gives the home folder of a user, None being who runs this.

    ``host`` is the name of this host, for the addresses of its users.
    """

    home: Callable[[str | None], str]
    host_zone: str
    project_zone: str
    user: str
    host: str = "localhost"


def jobs_file(reading: Reading, taken: Iterable[str], around: Surroundings) -> tuple[str, list[str], list[Left]]:
    """Return the text of the file, the names of its jobs, and the lines that are not in it as they stand.

    Args:
        reading: the crontab.
        taken: names that other jobs have.
        around: the host, and the project.
    """
    used = set(taken)
    names, parts, left = [], [], list(reading.left)
    mailing: dict[str, str] = {}
    for entry in reading.entries:
        name = name_of(entry.command, used, entry.comments)
        used.add(name)
        names.append(name)
        if entry.mailto and entry.mailto not in mailing:
            mailing[entry.mailto] = free_name(MAILING, used)
            used.add(mailing[entry.mailto])
        parts.append("\n".join(_job(name, entry, around, mailing.get(entry.mailto))))
        left += [Left(entry.line, entry.source, f"{name}: {note}") for note in entry.notes]
        if entry.user not in (None, around.user):
            left.append(
                Left(entry.line, entry.source, f"{name} runs as the user of its worker, and no longer as {entry.user}")
            )
    left.sort(key=lambda leftover: leftover.line)
    comment_lines = "".join(
        f"#   line {leftover.line}: {_comment(leftover.source)}\n#     {_comment(leftover.why)}\n" for leftover in left
    )
    parts += ["\n".join(_mailing_job(name, mailto, reading, around)) for mailto, name in mailing.items()]
    head = HEAD + (f"#\n# What could not be converted:\n{comment_lines}" if comment_lines else "")
    return f"{head}jobs:\n" + "\n\n".join(parts) + "\n", names, left


def _mailing_job(name: str, mailto: str, reading: Reading, around: Surroundings) -> Iterator[str]:
    """Yield a job that mails failures, in comments: whoever wants it removes the ``#``, here and before its hooks."""
    to = [_address(part, around.host) for part in re.split(r"[,\s]+", mailto) if part]
    yield f"  # MAILTO={_comment(mailto)}: mails each failure, once the # is removed here and before the hooks above."
    yield f"  # {name}:"
    yield "  #   task: runner.tasks.notify:email"
    yield "  #   params:"
    yield "  #     run: {type: object, required: true}"
    yield "  #   kwargs:"
    yield f"  #     to: [{', '.join(map(_text, to))}]"
    yield f"  #     sender: {_text(_address(reading.sender or around.user, around.host))}"
    yield "  #     host: localhost"


def _address(name: str, host: str) -> str:
    """Return the address of somebody whom a crontab names: a user of this host has none of its own."""
    return name if "@" in name else f"{name}@{host}"


def _job(name: str, entry: Entry, around: Surroundings, mailing: str | None = None) -> Iterator[str]:
    yield f"  {name if _PLAIN.fullmatch(name) else _text(name)}:"
    for comment in entry.comments:
        yield f"    # {_comment(comment)}".rstrip()
    yield f"    # line {entry.line}: {_comment(entry.source)}"
    yield "    task: runner.tasks.shell:run"
    yield "    kwargs:"
    environment = dict(entry.environment)
    shell = environment.pop("SHELL", "")
    yield f"      cwd: {_text(environment.get('HOME') or around.home(entry.user))}"
    if shell in _SHELLS:
        yield from _script(entry.command)
    else:
        waits = _needs_waiting(entry.command, shell) and shell.rpartition("/")[2] in _POSIX
        command = f"{_WAIT}; {entry.command}" if waits else entry.command
        yield f"      command: [{_text(shell)}, -c, {_text(command)}]"
    if entry.stdin is not None:
        yield f"      stdin: {_text(entry.stdin)}"
    if environment:
        yield "    env:"
        for variable, value in environment.items():
            yield f"      {_text(variable)}: {_text(value)}"
    if entry.single:
        yield "    concurrency: {limit: 1, policy: skip}"
    if mailing is not None:
        yield f"    # hooks: {{failure: [{mailing}]}}"
    yield f"    schedule: {_schedule(entry, around)}"


def _needs_waiting(command: str, shell: str = "") -> bool:
    # A shell with a trap does not replace itself by its last command, either.
    return leaves_its_shell(command) or any(True for _ in ampersands(command, shell))


def _script(command: str) -> Iterator[str]:
    # The shell of a job stops at the first command that fails, that of cron goes on.
    waits = _needs_waiting(command)
    lines = ["set +e"] if waits or _SEVERAL.search(command) else []
    lines += [*([_WAIT] if waits else []), *command.split("\n")]
    if all(line.isprintable() and line == line.strip() and line for line in lines):
        yield "      script: |-"
        for line in lines:
            yield f"        {_literal(line)}"
    else:
        yield f"      script: {_text(chr(10).join(lines))}"


def _schedule(entry: Entry, around: Surroundings) -> str:
    zone = entry.timezone or (around.host_zone if around.host_zone != around.project_zone else None)
    cron = json.dumps(entry.when)
    more = [f"timezone: {_text(zone)}"] if zone else []
    more += [f"jitter: {entry.jitter}m"] if entry.jitter else []
    return f"{{{', '.join([f'cron: {cron}', *more])}}}" if more else cron


def _literal(text: str) -> str:
    return text.replace("${", "$${")


def _text(text: str) -> str:
    """Return a text in YAML's double quotes."""
    quoted = json.dumps(_literal(text), ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in quoted)


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
