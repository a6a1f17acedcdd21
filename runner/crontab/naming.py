"""Names for jobs, out of the commands that they run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container
from pathlib import PurePosixPath

_WRAPPERS = frozenset(
    {"sudo", "nice", "ionice", "chronic", "cronic", "flock", "timeout", "env", "exec", "nohup", "time", "setsid"}
    | {"stdbuf", "command", "test", "[", "true", "cd"}
)
_INTERPRETERS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "python", "perl", "php", "ruby", "node", "java"])
_ENDINGS = (".sh", ".bash", ".py", ".pl", ".php", ".rb", ".js", ".jar")
_BEFORE_COMMANDS = ("if", "then", "elif", "else", "while", "until", "do", "!")
_NO_COMMANDS = frozenset({"fi", "done", "esac", "for", "case"})
"""Words of the shell, before a command and in place of one."""
LONGEST = 48


def name_of(command: str, taken: Container[str]) -> str:
    """Return a sound name of a job that is not in ``taken``."""
    name = _plain(_telling_word(command)) or "command"
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _telling_word(command: str) -> str:
    parts = [_words(part.lstrip(" \t{(!")) for part in re.split(r"&&|\|\||[;|]", command)]
    fallback = ""
    for words in parts:
        while words and words[0] in _BEFORE_COMMANDS:
            del words[0]
        asked = bool(words) and words[0] in ("test", "[", "cd", "true", ".", "source", "export")
        if asked or (words and words[0] in _NO_COMMANDS):
            continue
        word = _of_words(words)
        if word:
            return word
        fallback = fallback or next(iter(words), "")
    return fallback or next((words[0] for words in parts if words), "")


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError:
        return part.replace('"', " ").replace("'", " ").split()


def _of_words(words: list[str]) -> str:
    interpreter, wrapper, module = "", False, False
    for index, word in enumerate(words):
        base = PurePosixPath(word).name
        if module:
            return word
        if interpreter and word == "-c" and index + 1 < len(words):
            return (
                _telling_word(words[index + 1]) if interpreter in ("sh", "bash", "dash", "zsh", "ksh") else interpreter
            )
        if interpreter and word == "-m":
            module = True
            continue
        if word.startswith("-") or re.fullmatch(r"[A-Za-z_]\w*=.*|[0-9.]+[smhd]?|\d*[<>].*|&.*", word, re.DOTALL):
            continue
        if base in _WRAPPERS:
            wrapper = True
        elif re.sub(r"[\d.]+$", "", base) in _INTERPRETERS:
            interpreter = re.sub(r"[\d.]+$", "", base)
        elif wrapper and (base.endswith((".lock", ".pid")) or word.startswith(("/var/lock/", "/run/", "/var/run/"))):
            continue  # what flock locks
        else:
            return base
    return interpreter


def _plain(word: str) -> str:
    base = word.lower()
    for ending in _ENDINGS:
        base = base.removesuffix(ending)
    return re.sub(r"[^a-z0-9._-]+", "-", base)[:LONGEST].strip("-._")
