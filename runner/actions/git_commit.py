"""Commit one file to the git repository that its folder belongs to, with a person as the author."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runner._dataclass import dataclass

GIT_SECONDS = 20.0
"""How long one command of git may take."""
_GRACE_SECONDS = 2.0
_LONGEST_NAME = 128
_LONGEST_MESSAGE = 300
_COMMITTER = "runner web"
_OPTIONS = (
    # Hooks and the file system monitor are programs; none of them may wait for somebody, or run as runner web.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    # What git would do in the background after a commit.
    "gc.auto=0",
    "maintenance.auto=false",
)


@dataclass(frozen=True, slots=True)
class Commit:
    """The result of committing a file."""

    id: str | None = None
    """The abbreviated id; None without a new commit."""
    fault: str | None = None
    """The reason why git did not commit, if it should have."""


class _Failed(Exception):
    """Git failed; the message is what it wrote, or what became of it."""


def commit_file(path: Path, *, by: str, message: str, seconds: float = GIT_SECONDS) -> Commit:
    """Commit the present state of one file, or its removal. Whatever else is staged stays staged.

    No hook runs, nothing is signed, and git cannot ask anybody for anything. A command that takes too long is ended.
    Without a repository, and of a file that git ignores, nothing is committed, and nothing is wrong.

    Args:
        path: the file; a symbolic link in its folder has been ruled out by the caller.
        by: the author.
        message: the commit message.
        seconds: the limit for each command of git.
    """
    folder = path.parent
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return Commit()
    program = shutil.which("git")
    if program is None:
        return Commit(fault="git is not installed on this host")
    git = _Git(program, folder, _author(by), seconds)
    name = f":(literal){path.name}"
    try:
        if not git.succeeds("rev-parse", "--is-inside-work-tree", unless="not a git repository"):
            return Commit()
        if path.exists():
            if git.succeeds("check-ignore", "--quiet", "--", path.name):
                return Commit()
            git.output("add", "--", name)
        if not git.output("status", "--porcelain", "--untracked-files=no", "--", name):
            return Commit()
        git.output(
            *("commit", "--quiet", "--only", "--no-verify", "--no-gpg-sign", "--cleanup=whitespace"),
            *(f"--message={message}", "--", name),
        )
        return Commit(git.output("rev-parse", "--short", "HEAD").strip())
    except _Failed as failed:
        return Commit(fault=str(failed))


def _author(by: str) -> str:
    """Return a name as git takes it: printable, and without the brackets of an address."""
    name = "".join(character for character in by if character.isprintable() and character not in "<>")
    return name.strip(" .,:;\"'\\")[:_LONGEST_NAME] or "unknown"


class _Git:
    """Runs git in a folder, as an author, with a time limit for each command."""

    def __init__(self, program: str, folder: Path, author: str, seconds: float) -> None:
        self._program = [program, *(argument for option in _OPTIONS for argument in ("-c", option))]
        self._folder = folder
        self._environment = {**_inherited(os.environ), **_identity(author)}
        self._seconds = seconds

    def succeeds(self, *arguments: str, unless: str = "") -> bool:
        """Return whether a command ends with exit code 0.

        Raises:
            _Failed: it was ended, or ``unless`` is given and the failure is another one.
        """
        status, _, complaint = self._run(arguments)
        if status != 0 and unless and unless not in complaint:
            raise _Failed(_brief(complaint, status))
        return status == 0

    def output(self, *arguments: str) -> str:
        """Return the stdout of a command.

        Raises:
            _Failed: it failed.
        """
        status, output, complaint = self._run(arguments)
        if status != 0:
            raise _Failed(_brief(complaint or output, status))
        return output

    def _run(self, arguments: tuple[str, ...]) -> tuple[int, str, str]:
        try:
            process = subprocess.Popen(
                [*self._program, *arguments],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # without a terminal, nothing can ask for a password
            )
        except OSError as error:
            raise _Failed(f"git cannot be started: {error.strerror}") from None
        with process:
            try:
                output, complaint = process.communicate(timeout=self._seconds)
            except subprocess.TimeoutExpired:
                self._end(process)
                raise _Failed(f"git {arguments[0]} took longer than {self._seconds:g} s, and was ended") from None
        return process.returncode, output, complaint

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End git and all that it started: first politely, so that it removes its lock files."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signum)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_GRACE_SECONDS)
                return


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that would lead git to another repository or program."""
    return {name: value for name, value in environ.items() if not name.startswith("GIT_")}


def _identity(author: str) -> dict[str, str]:
    return {
        "GIT_AUTHOR_NAME": author,
        "GIT_AUTHOR_EMAIL": author if "@" in author else "",
        "GIT_COMMITTER_NAME": _COMMITTER,
        "GIT_COMMITTER_EMAIL": "",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_EDITOR": "true",
        "LC_ALL": "C",
    }


def _brief(text: str, status: int) -> str:
    """Return the first paragraph that git wrote, in one line."""
    lines = [line.strip() for line in text.strip().partition("\n\n")[0].splitlines() if not line.startswith("hint:")]
    return "; ".join(filter(None, lines))[:_LONGEST_MESSAGE] or f"git ended with exit code {status}"
