"""How to correct a problem: the line as it was probably meant, or the remedy that its message ends with."""

from __future__ import annotations

import re

from runner.spec.problem import Problem

_GUESS = re.compile(r", did you mean ([A-Za-z_][\w-]*)\?$")
_ATTRIBUTE = re.compile(r" has no (\w+), did you mean (\w+)\?$")
_QUOTED = re.compile(r'(?:quote it(?: for text)?: |, or )("[^"]*")')
_WORD = re.compile(r"[\w.$-]+")
_PLAIN = re.compile(r"[^\s,\]}#][^,\]}#]*?(?=\s*(?:[,\]}]|\s#|$))")
_REMEDY = re.compile(
    r"[,;:] ((?:or )?(?:add|begin|call|close|copy|correct|declare|give|indent|list|make|merge|name|quote|remove|rename|"
    r"replace|run|save|split|start|swap|type|use|wait|write)\b.*)$"
)
_LONGEST_LINE = 160


def fix_of(problem: Problem) -> str:
    """Return what to do about a problem, in one line; an empty string where the message names no remedy.

    Where one word is wrong and what was meant is known, that is the corrected line.
    """
    corrected = _corrected(problem)
    if corrected:
        return corrected
    remedy = _REMEDY.search(problem.message)
    return remedy[1].partition("; '")[0] if remedy else ""


def _corrected(problem: Problem) -> str:
    if not problem.source or len(problem.source) > _LONGEST_LINE:
        return ""
    if attribute := _ATTRIBUTE.search(problem.message):
        return problem.source.replace(attribute[1], attribute[2], 1).strip()
    guess, quoted = _GUESS.search(problem.message), _QUOTED.search(problem.message)
    start = problem.index
    if guess:
        found = _WORD.match(problem.source, start)
        replacement = guess[1]
    elif quoted:
        found = _PLAIN.match(problem.source, start)
        replacement = quoted[1]
        if found and found[0] != replacement[1:-1]:
            return ""
    else:
        return ""
    if not found:
        return ""
    return (problem.source[:start] + replacement + problem.source[found.end() :]).strip()
