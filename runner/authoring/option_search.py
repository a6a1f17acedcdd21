"""Find an option by its dotted path, or the one that was probably meant: ``jobs.retry.backoff``, ``runner.worker``.

Names that a user chooses may be part of the path: ``jobs.nightly-report.retry`` and ``jobs.retry`` are the same option.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from runner.authoring.option_help import ROOTS, OptionHelp, all_options, options_inside
from runner.errors import UsageError
from runner.model.container import MapOf
from runner.model.message import Message
from runner.model.slot_rule import CalendarSources
from runner.model.value_type import closest
from runner.settings.celery_settings import CelerySettings


def look_up(path: str) -> OptionHelp:
    """Return the option at a dotted path; the root may be left out where only one file has such an option.

    Raises:
        UsageError: there is no such option; the message names the most likely one.
    """
    steps = re.sub(r"\[\d+\]", "", path).strip(".").split(".")
    for root in ROOTS:
        if steps[0] == root.path:
            found = _find(root, steps[1:])
            if found is None:
                raise _unknown(root, steps[1:], path)
            return found
    # Not below the name of a job: any word could be one.
    with_key = [root for root in ROOTS if steps[0] in [option.declared.key for option in root.options]]
    everywhere = [found for root in with_key if (found := _find(root, steps)) is not None]
    if len(everywhere) > 1:
        paths = [found.path for found in everywhere]
        raise UsageError(f"both files have an option {path}", hint=f"write {' or '.join(paths)}")
    if not everywhere:
        raise _unknown(None, steps, path)
    return everywhere[0]


def _find(start: OptionHelp, steps: Sequence[str]) -> OptionHelp | None:
    inside = options_inside(start.declared.type)
    if not steps or (inside is None and isinstance(start.declared.type, MapOf | CalendarSources | CelerySettings)):
        return start  # such as jobs.env.HOME
    by_key = {option.at[-1]: option for option in start.options}
    if steps[0] in by_key:
        found = _find(by_key[steps[0]], steps[1:])
        if found is not None:
            return found
    if inside is None or not inside.name:
        return None
    # The name may have dots, so what follows it is searched for from the left.
    for length in range(1, len(steps)):
        option = by_key.get(steps[length])
        found = _find(option, steps[length + 1 :]) if option is not None else None
        if found is not None:
            name = ".".join(steps[:length])
            at = (*start.at, name, *found.at[len(start.at) + 1 :])
            return OptionHelp(found.path, at, found.declared)
    return None


def _unknown(root: OptionHelp | None, steps: Sequence[str], path: str) -> UsageError:
    """Return the error for a path that leads nowhere, with the most likely option."""
    lowered = [step.lower() for step in steps]
    if lowered != list(steps) and (same := _known_start(root, lowered)) is not None:
        return UsageError(f"no option {path!r}, did you mean {same}?")
    if root is None and len(steps) > 1 and (start := _root_with(steps[0])) is not None:
        root = start
    elif root is None and len(steps) > 1:
        meant = closest(steps[0], [known.path for known in ROOTS])
        root, steps = next(((known, steps[1:]) for known in ROOTS if known.path == meant), (None, steps))
    if root is None:
        guess = next((known for root in ROOTS if (known := _alias(root, steps))), None) or _elsewhere(steps[-1], "")
        lists = "runner explain"
    else:
        nearest, rest = root, list(steps)
        while deeper := next((length for length in (1, 2) if rest and _find(nearest, rest[:length])), 0):
            nearest, rest = _find(nearest, rest[:deeper]) or nearest, rest[deeper:]
        guess = _guess(nearest, rest, root.path)
        lists = f"runner explain {nearest.path}"
    if isinstance(guess, Message):
        return UsageError(f"no option {path!r} {guess}", hint=lists)
    if guess is not None:
        return UsageError(f"no option {path!r}, did you mean {guess}?")
    return UsageError(f"no option {path!r}", hint=lists)


def _root_with(key: str) -> OptionHelp | None:
    """Return the first file that has an option ``key`` at its top."""
    return next((root for root in ROOTS if key in [option.declared.key for option in root.options]), None)


def _known_start(root: OptionHelp | None, steps: Sequence[str]) -> str | None:
    """Return the path of the option at ``steps``, or None; without ``root``, as :func:`look_up` reads them."""
    if root is None:
        start = next((known for known in ROOTS if known.path == steps[0]), None)
        root, steps = (start, steps[1:]) if start is not None else (_root_with(steps[0]), steps)
    found = _find(root, steps) if root is not None else None
    return found.path if found is not None else None


def _guess(nearest: OptionHelp, rest: Sequence[str], root: str) -> str | None:
    inside = options_inside(nearest.declared.type)
    if inside is None:
        return nearest.path  # it has no options, so the rest of the path is wrong
    alias = _alias(nearest, rest)
    close = closest(rest[0], inside.options) if alias is None else None
    if alias is None and close is None and rest[0]:
        close = next((key for key in inside.options if key.startswith(rest[0])), None)
    return alias or _path(nearest, close, rest[1:]) or _elsewhere(rest[-1], root)


def _alias(nearest: OptionHelp, rest: Sequence[str]) -> str | None:
    """Return the meaning of another tool's name for an option: a path, or a message."""
    inside = options_inside(nearest.declared.type)
    alias = inside.aliases.get(rest[0]) if inside is not None else None
    return alias if isinstance(alias, Message) else _path(nearest, alias, rest[1:])


def _path(nearest: OptionHelp, key: str | None, rest: Sequence[str]) -> str | None:
    """Return the path of ``key`` in ``nearest``, and of ``rest`` in that, if it is there."""
    if key is None:
        return None
    found = _find(nearest, [*key.split("."), *rest]) or _find(nearest, key.split("."))
    return found.path if found is not None else None


def _elsewhere(key: str, root: str) -> str | None:
    """Return the first option below ``root`` with this name, or with nearly the same."""
    by_name: dict[str, str] = {}
    # Options of a job before those of its steps.
    for known in sorted(all_options(), key=lambda known: known.path.count(".")):
        if known.path.startswith(root):
            by_name.setdefault(known.declared.key, known.path)
    close = difflib.get_close_matches(key, by_name, n=1, cutoff=0.8)
    return by_name[close[0]] if close else None
