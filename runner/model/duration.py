"""Durations and sizes as people write them: ``90s``, ``1h30m``, ``2d``; ``64KiB``, ``1MiB``."""

from __future__ import annotations

import re
from functools import lru_cache

from runner.model.message import advise

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhdw])")
_WHOLE = re.compile(DURATION_PATTERN[:-1] + r"\Z")

_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
SIZE_PATTERN = r"^[0-9]+(B|KiB|MiB|GiB)$"
_SIZE = re.compile(r"([0-9]+)(B|KiB|MiB|GiB)\Z")
_NEARLY_SIZE = re.compile(r"([0-9]+) ?([KMGkmg])i?[Bb]?\Z")
"""A size as other tools write it: ``512MB``, ``512Mi``, ``512m``."""

MAX_DURATION = 10 * 365 * 86400.0
"""Seconds; ten years keep every deadline inside what Redis scores and ``datetime`` hold exactly."""


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> float:
    """Return the seconds that ``text`` means.

    Raises:
        ValueError: with a message that says what to write instead.
    """
    if not _WHOLE.match(text):
        raise ValueError(_advice(text))
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if seconds > MAX_DURATION:
        raise ValueError(f"{text} is longer than ten years")
    return round(seconds, 3)


def _advice(text: str) -> str:
    bare = text.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", bare):
        return advise(f"{bare} has no unit", f"write {bare}s, {bare}m or {bare}h")
    if re.fullmatch(r"[0-9]+:[0-9]{2}(:[0-9]{2})?", bare):
        return advise(f"{bare} is not a duration", "write it with units, such as 1h30m")
    return advise(f"{text!r} is not a duration", "write a number with a unit, such as 90s, 15m, 1h30m or 2d")


@lru_cache(maxsize=4096)
def format_duration(seconds: float) -> str:
    """Return ``seconds`` the way :func:`parse_duration` reads it: ``5400`` becomes ``1h30m``."""
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
    """Return the bytes that ``text`` means (``64KiB`` is 65536).

    Raises:
        ValueError: with a message that says what to write instead.
    """
    match = _SIZE.match(text)
    if not match:
        near = _NEARLY_SIZE.match(text)
        advice = f"{near[1]}{near[2].upper()}iB" if near else "a whole number with B, KiB, MiB or GiB, such as 64KiB"
        raise ValueError(advise(f"{text!r} is not a size", f"write {advice}"))
    return int(match[1]) * _BYTES[match[2]]


def format_size(size: int) -> str:
    """Return ``size`` bytes the way :func:`parse_size` reads it, exactly."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"


def milliseconds(seconds: float) -> int:
    """Return whole milliseconds, as scripts and records have them."""
    return round(seconds * 1000)
