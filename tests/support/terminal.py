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

from tests.support.command import COMMAND, clean_environment
from tests.support.deadline import wait_until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_END = "\f"
_MANY = f"""
import fcntl, json, struct, sys, termios
from runner.cli.main import run
for width, words in json.loads(sys.argv[1]):
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    print("{{}}{{}}".format(run(words), {_END!r}), flush=True)
"""


class Terminal:
    """A program whose stdout is a terminal, and stderr a pipe; use it in a ``with``."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        width: int = 80,
        height: int = 24,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        environment = {**clean_environment(env), "TERM": "xterm-256color"}
        environment.pop("COLUMNS", None)
        self._written = b""
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE
        )
        os.close(theirs)
        self._readers = [threading.Thread(target=self._read, daemon=True)]
        self._readers.append(threading.Thread(target=self._read_stderr, daemon=True))
        self.stderr = ""
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
        """What it has written to the terminal so far, with escapes."""
        return self._written.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def text(self) -> str:
        """What it has written to the terminal so far, without colors and other escapes."""
        return ESCAPES.sub("", self.raw)

    def wait_for(self, pattern: str, deadline: float = 60.0) -> None:
        """Wait until its text has a match of ``pattern``."""
        wait_until(lambda: re.search(pattern, self.text), deadline, f"{pattern} in {self.text!r}")

    def end(self, number: int | None = None, deadline: float = 60.0) -> int:
        """Send a signal, if there is one, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(deadline)
        for reader in self._readers:
            reader.join()
        return code


def on_terminal(*args: str, cwd: Path, width: int = 80, height: int = 24) -> Terminal:
    """Start ``runner ARGS`` on a terminal."""
    return Terminal([*COMMAND, *args], cwd=cwd, width=width, height=height)


def run_many(commands: Sequence[tuple[int, Sequence[str]]], *, cwd: Path) -> list[tuple[int, str]]:
    """Run commands of ``runner`` one after the other in one process, on a terminal of the width of each.

    Returns:
        The exit code of each, and what it wrote to stdout without escapes.
    """
    words = json.dumps([[width, list(args)] for width, args in commands])
    with Terminal([sys.executable, "-c", _MANY, words], cwd=cwd) as terminal:
        assert terminal.end(deadline=120.0) == 0, terminal.stderr
        *answers, rest = terminal.text.split(f"{_END}\n")
    assert rest == "", terminal.text
    found = [re.fullmatch(r"(.*?)(\d+)", answer, re.DOTALL) for answer in answers]
    return [(int(match[2]), match[1]) for match in found if match is not None]
