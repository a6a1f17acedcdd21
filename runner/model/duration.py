"""Durations and sizes as people write them: ``90s``, ``1h30m``, ``2d``; ``64KiB``, ``1MiB``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from runner.model.message import Message, advise

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_CLOCK = re.compile(r"([0-9]{1,6}):([0-5]?[0-9])(?::([0-5]?[0-9]))?")
_WHOLE = re.compile(DURATION_PATTERN[:-1] + r"\Z")

_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
SIZE_PATTERN = r"^[0-9]+(B|KiB|MiB|GiB)$"
_SIZE = re.compile(r"([0-9]+)(B|KiB|MiB|GiB)\Z")
_NEARLY_SIZE = re.compile(r"([0-9]+) ?([KMGkmg])i?[Bb]?\Z")
"""A size as other tools write it: ``512MB``, ``512Mi``, ``512m``."""

MAX_DURATION = 10 * 365 * 86400.0
"""Seconds. Redis scores and ``datetime`` hold every deadline within ten years exactly."""


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    if not _WHOLE.match(text):
        raise ValueError(_advice(text))
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > MAX_DURATION:
        raise ValueError(advise(f"{text} is longer than ten years", "write a shorter duration"))
    return round(seconds, 3)


def without_unit(number: float | str, accepts: Callable[[str], bool] = lambda _: True) -> Message:
    """Return the message for a number without a unit; ``accepts`` tells which durations it may have meant."""
    what = f"{number} has no unit"
    choice = tuple(text for unit in ("s", "m", "h", "ms", "d") if accepts(text := f"{number}{unit}"))[:3]
    if not choice:
        return advise(what, "write a duration such as 90s, 15m, or 1h30m")
    return advise(what, f"write {one_of(choice)}", alternatives=choice)


def one_of(choice: Sequence[str]) -> str:
    """Return ``30s, 30m or 30h``."""
    return " or ".join(filter(None, [", ".join(choice[:-1]), choice[-1]]))


def _advice(text: str) -> Message:
    bare = text.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", bare):
        return without_unit(bare)
    if (clock := _CLOCK.fullmatch(bare)) is not None:
        return _clock_advice(bare, *clock.groups())
    return advise(f"{text!r} is not a duration", "write a number with a unit, such as 90s, 15m, 1h30m, or 2d")


def _clock_advice(text: str, first: str, second: str, third: str | None) -> Message:
    """Return the message for ``1:30`` or ``1:30:00``, which other tools take for a duration."""
    if third is not None:
        choice = [format_duration(int(first) * 3600 + int(second) * 60 + int(third))]
    else:
        minutes = int(first) * 60 + int(second) if int(first) < 24 else int(first) + int(second) / 60
        choice = list(dict.fromkeys([f"{minutes:g}m", format_duration(minutes * 60)]))
    return advise(f"{text} is not a duration", f"write {' or '.join(choice)}", alternatives=tuple(choice))


@lru_cache(maxsize=4096)
def format_duration(seconds: float) -> str:
    """Return ``seconds`` as text for :func:`parse_duration`: ``5400`` becomes ``1h30m``."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds else "0s"
    left = round(seconds, 3)
    parts = []
    for unit in ("d", "h", "m"):
        count = int(left // _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
            left = round(left - count * _SECONDS[unit], 3)
    if left:
        parts.append(f"{left:g}s")
    return "".join(parts)


def parse_size(text: str) -> int:
    """Return a size in bytes (``64KiB`` is 65536).

    Raises:
        ValueError: it is none; the message says what to write.
    """
    match = _SIZE.match(text)
    if not match:
        near = _NEARLY_SIZE.match(text)
        meant = f"{near[1]}{near[2].upper()}iB" if near else ""
        advice = meant or "a whole number with B, KiB, MiB, or GiB, such as 64KiB"
        raise ValueError(advise(f"{text!r} is not a size", f"write {advice}", replacement=meant))
    return int(match[1]) * _BYTES[match[2]]


def format_size(size: int) -> str:
    """Return ``size`` bytes as text for :func:`parse_size`, without rounding."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def milliseconds(seconds: float) -> int:
    """Return ``seconds`` as whole milliseconds, for the Lua scripts and the ledger."""
    return round(seconds * 1000)
