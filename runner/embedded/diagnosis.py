"""Find the reason in a server's log why it ended at its start."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from runner.embedded.place import Place
from runner.errors import Unavailable

_LONGEST_READ = 64 * 1024
_TOO_LITTLE = 16 * 1024
"""Free disk space that is too small for a server's first files (bytes)."""

_OTHER_VERSION = ("rdb format version", "unknown rdb", "feature not supported", "internal error in rdb", "module type")
_DAMAGED = ("bad file format", "corrupt", "short read", "unexpected end of file", "manifest", "checksum", "aof")
_SMALL_TALK = re.compile(r"WARNING|is starting|version=|Configuration loaded|Server initialized")
_BANNER = re.compile(r"(Redis|Valkey) version=([0-9.]+)")


def why_it_ended(place: Place, log_begin: int, program: Path, last: Mapping[str, str]) -> Unavailable:
    """Return the error for a server that ended before it answered.

    Args:
        place: the place of its files.
        log_begin: the position in the log where this start begins (bytes).
        program: the program that was started.
        last: the server that wrote the data, as far as it is known.
    """
    lines = _lines(place, log_begin)
    message = _serious(lines)
    low = message.lower()
    damaged = any(part in low for part in _DAMAGED)
    give_up = f"or begin anew with: mv {place.data} {place.data}.old"
    if "no space left" in low or _is_full(place):
        hint = f"free space on the disk of {place.data}"
        if "no space left" not in low:
            message = "no space is left on its disk"  # and so none for its log
    elif any(part in low for part in _OTHER_VERSION) or (damaged and _is_newer(last.get("version", ""), lines)):
        writer = f"{last.get('version', 'a newer server')} ({last.get('program', 'its program is not known')})"
        hint = f"the data was last written by {writer}, which {program} cannot read: use that one again, {give_up}"
    elif damaged:
        hint = (
            f"the data is damaged: valkey-check-aof --fix {place.data}/appendonlydir/*.manifest "
            f"(or redis-check-aof) repairs it, {give_up}"
        )
    else:
        hint = f"its log is {place.log}"
    return Unavailable(f"the embedded server ended at its start: {message}", hint=hint)


def _is_full(place: Place) -> bool:
    return shutil.disk_usage(place.folder).free < _TOO_LITTLE


def last_words(place: Place, log_begin: int) -> str:
    """Return the last messages of the server in one line, errors and warnings first."""
    return _serious(_lines(place, log_begin))


def _lines(place: Place, log_begin: int) -> list[str]:
    try:
        with place.log.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(log_begin, log.tell() - _LONGEST_READ))
            return [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError as error:
        return [f"its log cannot be read: {error.strerror}"]


def _serious(lines: list[str]) -> str:
    # A line is `PID:ROLE DAY MONTH YEAR TIME LEVEL TEXT`, with the level # for warnings and errors.
    telling = [line for line in lines if not _SMALL_TALK.search(line)]
    chosen = [line for line in telling if " # " in line] or telling
    messages = [line.split(" # ", 1)[-1].split(" * ", 1)[-1].strip() for line in chosen[-3:]]
    return "; ".join(messages) or "it said nothing"


def _is_newer(writer: str, lines: list[str]) -> bool:
    """Return whether the server that wrote the data (``valkey 9.1.2``) is newer than the reader, or another product."""
    family, _, version = writer.partition(" ")
    reader = next((found for line in lines if (found := _BANNER.search(line))), None)
    if not version or reader is None:
        return False
    return reader[1].lower() != family or _numbers(reader[2]) < _numbers(version)


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"[0-9]+", version)]
