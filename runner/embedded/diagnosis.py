"""Why a server ended at its start, out of its own log."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.embedded.place import Place
from runner.errors import Unavailable

_LONGEST_READ = 64 * 1024

_OTHER_VERSION = ("rdb format version", "unknown rdb", "feature not supported", "internal error in rdb", "module type")
_DAMAGED = ("bad file format", "corrupt", "short read", "unexpected end of file", "manifest", "checksum", "aof")


def why_it_ended(place: Place, log_begin: int, program: Path, last: Mapping[str, str]) -> Unavailable:
    """Return the error for a server that ended before it answered.

    Args:
        place: where its files are.
        log_begin: where in the log this start began, in bytes.
        program: what was started.
        last: what is known of the server that wrote the data.
    """
    said = last_words(place, log_begin)
    low = said.lower()
    hint = f"its log is {place.log}"
    give_up = f"or begin anew with: mv {place.data} {place.data}.old"
    if "no space left" in low:
        hint = f"free space on the disk of {place.data}"
    elif any(part in low for part in _OTHER_VERSION):
        writer = f"{last.get('version', 'a newer server')} ({last.get('program', 'its program is not known')})"
        hint = f"the data was last written by {writer}, and {program} can not read it: use that one again, {give_up}"
    elif any(part in low for part in _DAMAGED):
        hint = (
            f"the data is damaged: valkey-check-aof --fix {place.data}/appendonlydir/*.manifest "
            f"(or redis-check-aof) repairs it, {give_up}"
        )
    return Unavailable(f"the embedded server ended at its start: {said}", hint=hint)


def last_words(place: Place, log_begin: int) -> str:
    """Return in one line what the server said last, the serious first."""
    try:
        with place.log.open("rb") as log:
            log.seek(0, 2)
            log.seek(max(log_begin, log.tell() - _LONGEST_READ))
            lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError as error:
        return f"its log can not be read: {error.strerror}"
    # A line is `PID:ROLE DAY MONTH YEAR TIME LEVEL TEXT`, with the level # for warnings and errors.
    serious = [line for line in lines if " # " in line and "WARNING" not in line]
    said = [line.split(" # ", 1)[-1].split(" * ", 1)[-1].strip() for line in (serious or lines)[-3:]]
    return "; ".join(said) or "it said nothing"
