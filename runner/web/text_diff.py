"""The difference between two versions of a file, as lines of a unified diff."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

CONTEXT = 3
"""Unchanged lines that are shown around a change."""
_MOST_PAIRS = 4_000_000
"""Finding the shortest difference takes time for each pair of lines; above this, all of the middle is replaced."""

Opcode = tuple[str, int, int, int, int]
"""As difflib has them: what happens, to which lines of the old version, by which lines of the new one."""


class _Known(SequenceMatcher[str]):
    """Groups edits that are known into hunks."""

    def __init__(self, opcodes: list[Opcode]) -> None:
        super().__init__(None, (), ())
        self._known = opcodes

    def get_opcodes(self) -> list[Any]:
        return self._known


def unified(before: str, after: str) -> list[str]:
    """Return the lines of a unified diff, without line ends: hunks that begin with ``@@``; nothing without a change."""
    old, new = _lines(before), _lines(after)
    lines: list[str] = []
    for group in _Known(_opcodes(old, new)).get_grouped_opcodes(CONTEXT):
        if all(tag == "equal" for tag, *_ in group):
            continue
        (_, old_first, _, new_first, _), (_, _, old_last, _, new_last) = group[0], group[-1]
        lines.append(f"@@ -{_span(old_first, old_last)} +{_span(new_first, new_last)} @@")
        for tag, old_begin, old_end, new_begin, new_end in group:
            if tag == "equal":
                lines += [f" {line}" for line in old[old_begin:old_end]]
                continue
            lines += [f"-{line}" for line in old[old_begin:old_end]]
            lines += [f"+{line}" for line in new[new_begin:new_end]]
    return lines


def _opcodes(old: list[str], new: list[str]) -> list[Opcode]:
    """Return the edits as difflib does, without looking at what both have in common at the begin and the end."""
    first = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    pairs = zip(reversed(old[first:]), reversed(new[first:]), strict=False)
    last = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    old_end, new_end = len(old) - last, len(new) - last
    middle_old, middle_new = old[first:old_end], new[first:new_end]
    found: list[Opcode] = [("equal", 0, first, 0, first)] if first else []
    if len(middle_old) * len(middle_new) > _MOST_PAIRS:
        found.append(("replace", first, old_end, first, new_end))
    elif middle_old or middle_new:
        matched = SequenceMatcher(None, middle_old, middle_new, autojunk=False).get_opcodes()
        found += [(tag, a + first, b + first, c + first, d + first) for tag, a, b, c, d in matched]
    if last:
        found.append(("equal", old_end, len(old), new_end, len(new)))
    return found


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _span(first: int, last: int) -> str:
    """Return a range of lines as in a unified diff: they count from 1, and a count of one is left out."""
    count = last - first
    if count == 1:
        return str(first + 1)
    return f"{first + 1 if count else first},{count}"
