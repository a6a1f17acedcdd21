"""Names for jobs, out of the scripts that they run, or of the comments above them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container, Iterator, Sequence
from pathlib import PurePosixPath

_WRAPPERS = frozenset(
    {"sudo", "nice", "ionice", "chronic", "cronic", "flock", "timeout", "env", "exec", "nohup", "time", "setsid"}
    | {"stdbuf", "command", "test", "[", "true", "cd"}
)
_INTERPRETERS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "python", "perl", "php", "ruby", "node", "java"])
_SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ksh"])
_ONE_LINERS = frozenset(["perl", "ruby", "php", "node"])
_ENDINGS = (".sh", ".bash", ".py", ".pl", ".php", ".rb", ".js", ".jar")
_BEFORE_COMMANDS = ("if", "then", "elif", "else", "while", "until", "do", "!")
_NO_COMMANDS = frozenset({"fi", "done", "esac", "for", "case"})
"""JsonObject of the shell, before a command and in place of one."""
_TOOLS = re.compile(
    r"aws|awk|cat|chmod|chown|cp|curl|date|dd|df|docker|docker-compose|du|find|gcloud|git|grep|gsutil|gzip|kill|killall"
    r"|kubectl|ln|ls|make|mkdir|mongodump|mv|mysql|mysqldump|nc|nft|npm|npx|openssl|pg_dump|pg_dumpall|ping|pkill"
    r"|podman|psql|rclone|redis-cli|rm|rsync|run-parts|s3cmd|scp|sed|service|sqlite3|ssh|systemctl|tar|touch|tr"
    r"|truncate|unzip|wget|xargs|xz|zip|zstd"
)
"""Programs that say how something is done, and not what for. So do interpreters with a program in their arguments."""
_SPEAKING = frozenset(["echo", "printf", "logger", "mail", "mailx", "sleep", "tee"])
"""Tools whose arguments name nothing."""
_NO_WORDS = re.compile(r"a|all|an|and|are|at|by|each|every|for|from|in|is|its|of|on|our|that|the|then|this|to|we")
"""JsonObject of a comment that a name can do without."""
_HEADINGS = re.compile(r"m\s+h\s+(dom|d)\b|min(ute)?s?\s+hours?\b|([\d*/,-]+\s+){3}|@\w+\s|\w+=", re.IGNORECASE)
"""Comments that explain the columns of a crontab, or are lines that somebody has commented out."""
_SENTENCE = re.compile(r"[^.:;,()\[\]/]*")
WORDS = 4
"""JsonObject of a comment that make a name."""
LONGEST = 48


def name_of(command: str, taken: Container[str], comments: Sequence[str] = ()) -> str:
    """Return a sound name of a job that is not in ``taken``.

    It is that of the script. Where the command has only tools such as ``find`` or ``curl``, it comes from the comments
    above the line, and without any from the tool and what it works on.
    """
    script, tool = _of_command(command)
    return free_name(_plain(script) or _of_comments(comments) or tool or "command", taken)


def free_name(name: str, taken: Container[str]) -> str:
    """Return ``name``, or one with a number that is not in ``taken``."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def _of_command(command: str) -> tuple[str, str]:
    """Return the first script or program of its own that a command runs, and a name from the tools in it."""
    fallback, tool = "", ""
    for words in _parts(command):
        asked = words[0] in ("test", "[", "cd", "true", ".", "source", "export")
        if asked or words[0] in _NO_COMMANDS:
            continue
        word, rest = _of_words(words)
        if not _plain(word):
            fallback = fallback or words[0]
        elif not (_TOOLS.fullmatch(word) or word in _SPEAKING or word in _INTERPRETERS):
            return word, ""
        else:
            tool = tool or _with_object(word, rest)
    if tool or fallback:
        return fallback if not tool else "", tool
    return next((words[0] for words in _parts(command)), ""), ""


def _parts(command: str) -> Iterator[list[str]]:
    """Yield the words of each command in a line of the shell."""
    for part in re.split(r"&&|\|\||[;|]", command):
        words = _words(part.lstrip(" \t{(!"))
        while words and words[0] in _BEFORE_COMMANDS:
            del words[0]
        if words:
            yield words


def _with_object(tool: str, words: Sequence[str]) -> str:
    """Return a tool with the first thing that it works on: ``find-cache``, ``curl-example.org``."""
    for word in words if tool not in _SPEAKING else ():
        host = re.match(r"[a-z]+://(?:[^/@]*@)?(?:www\.)?([^/:?#]+)", word)
        found = _plain(host[1] if host else PurePosixPath(word).name)
        if found and not re.match(r"[-+$<>&{!%\d]|[A-Za-z_]\w*=", word):
            return _plain(f"{tool}-{found}")
    return _plain(tool)


def _of_comments(comments: Sequence[str]) -> str:
    for comment in comments:
        if _HEADINGS.match(comment):
            continue
        sentence = _SENTENCE.match(comment.strip("#-=* \t"))
        words = [_plain(word.replace("'", "")) for word in (sentence[0] if sentence else "").split()]
        telling = [word for word in words if word and not _NO_WORDS.fullmatch(word)]
        if telling and not all(word.isdigit() for word in telling):
            return _plain("-".join(telling[:WORDS]))
    return ""


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError:
        return part.replace('"', " ").replace("'", " ").split()


def _of_words(words: list[str]) -> tuple[str, list[str]]:
    """Return the word that tells what is run, empty if there is none, and those after it."""
    interpreter, wrapper, module = "", False, False
    for index, word in enumerate(words):
        base, rest = PurePosixPath(word).name, words[index + 1 :]
        if module:
            return word, rest
        if interpreter and word == "-c" and rest:
            script, tool = _of_command(rest[0]) if interpreter in _SHELLS else ("", "")
            return script or tool or interpreter, []
        if interpreter and word == "-m":
            module = True
            continue
        if interpreter in _ONE_LINERS and word in ("-e", "-r", "-E"):
            return interpreter, []
        if word.startswith("-") or re.fullmatch(r"[A-Za-z_]\w*=.*|[0-9.]+[smhd]?|\d*[<>].*|&.*", word, re.DOTALL):
            continue
        if base in _WRAPPERS:
            wrapper = True
        elif re.sub(r"[\d.]+$", "", base) in _INTERPRETERS:
            interpreter = re.sub(r"[\d.]+$", "", base)
        elif wrapper and (base.endswith((".lock", ".pid")) or word.startswith(("/var/lock/", "/run/", "/var/run/"))):
            continue  # what flock locks
        else:
            return base, rest
    return interpreter, []


def _plain(word: str) -> str:
    base = word.lower()
    for ending in _ENDINGS:
        base = base.removesuffix(ending)
    return re.sub(r"[^a-z0-9._-]+", "-", base)[:LONGEST].strip("-._")
