"""Commands whose stdout is a terminal of a given size."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from rich.cells import cell_len

from tests.support.command import COMMAND, clean_environment
from tests.support.deadline import wait_until

HEIGHT = 50
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_END = "\f"
_MANY = f"""
import fcntl, json, struct, sys, termios
from runner.cli.main import run
for width, words in json.loads(sys.argv[1]):
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", {HEIGHT}, width, 0, 0))
    print("{{}}{{}}".format(run(words), {_END!r}), flush=True)
"""


class Terminal:
    """A program whose stdout is a terminal; use it in a ``with``.

    Args:
        command: an argument list.
        cwd: its working folder.
        width: the columns of the terminal.
        height: the lines of the terminal.
        both: whether stderr is the terminal too, instead of a pipe.
        env: environment variables in addition to those of the test.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        width: int = 80,
        height: int = 24,
        both: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self._written = b""
        self.stderr = ""
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment({**(env or {}), "TERM": "xterm-256color"}),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs if both else subprocess.PIPE,
        )
        os.close(theirs)
        self._readers = [threading.Thread(target=self._read, daemon=True)]
        if not both:
            self._readers.append(threading.Thread(target=self._read_stderr, daemon=True))
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        os.close(self._ours)

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 65536)
            except OSError:  # what Linux says at the end
                return
            if not part:
                return
            self._written += part

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            self.stderr = stream.read().decode()

    @property
    def raw(self) -> str:
        """Return its output to the terminal so far, with escape sequences."""
        return self._written.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """Return its output to the terminal so far, without colors and other escape sequences."""
        return ESCAPES.sub("", self.raw).replace("\r\n", "\n")

    def wait_for(self, pattern: str, deadline: float = 60.0) -> None:
        """Wait until its text contains a match of ``pattern``."""
        wait_until(lambda: re.search(pattern, self.text), deadline, f"{pattern} in {self.text!r}")

    def end(self, number: int | None = None, deadline: float = 60.0) -> int:
        """Send a signal, if given, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(deadline)
        for reader in self._readers:
            reader.join()
        return code


def on_terminal(*args: str, cwd: Path, width: int = 80, height: int = 24) -> Terminal:
    """Start ``runner ARGS`` on a terminal."""
    return Terminal([*COMMAND, *args], cwd=cwd, width=width, height=height)


def screen(written: str, width: int = 80) -> list[str]:
    """Return the lines on a terminal of ``width`` columns after a program has written to it.

    It interprets the escape sequences that move the cursor up and that erase; others only change colors and the like.
    """
    lines: list[list[str]] = [[]]
    row = column = 0
    for escape, number, action, char in re.findall(r"(\x1b\[\??(\d*)[\d;]*([A-Za-z]))|(.|\n)", written):
        line = lines[row]
        if escape:
            if action == "A":
                row = max(0, row - int(number or 1))
            elif action == "K":
                line[column if number in ("", "0") else 0 :] = [] if number in ("", "0") else [" "] * column
            elif action == "J":
                del line[column:], lines[row + 1 :]
        elif char == "\r":
            column = 0
        elif char == "\n" or column + cell_len(char) > width:
            row, column = row + 1, 0
            lines += [[] for _ in range(row + 1 - len(lines))]
        if char and char not in "\r\n":
            line = lines[row]
            cells = [char, *[""] * (cell_len(char) - 1)]
            line += [" "] * (column - len(line))
            line[column : column + len(cells)] = cells
            column += len(cells)
    return ["".join(line).rstrip() for line in lines]


def run_many(commands: Sequence[tuple[int, Sequence[str]]], *, cwd: Path) -> list[tuple[int, str]]:
    """Run commands of ``runner`` one after the other in one process, on a terminal of the given width for each.

    Returns:
        The exit code of each, and its stdout without escape sequences.
    """
    encoded = json.dumps([[width, list(args)] for width, args in commands])
    with Terminal([sys.executable, "-c", _MANY, encoded], cwd=cwd) as terminal:
        assert terminal.end(deadline=120.0) == 0, terminal.stderr
        *answers, rest = terminal.text.split(f"{_END}\n")
    assert rest == "", terminal.text
    found = [re.fullmatch(r"(.*?)(\d+)", answer, re.DOTALL) for answer in answers]
    return [(int(match[2]), match[1]) for match in found if match is not None]
