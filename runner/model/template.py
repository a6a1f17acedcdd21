"""Texts with ``${…}`` in them: ``eu-${params.region}``. ``$${`` stands for a literal ``${``. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_PLACEHOLDER = re.compile(r"\$\$\{|\$\{([^}]*)(\})?")


def names(text: str) -> Iterator[str]:
    """Yield what stands between ``${`` and ``}``, stripped.

    Raises:
        ValueError: a ``${`` is not closed.
    """
    for match in _PLACEHOLDER.finditer(text):
        if match[1] is None:
            continue
        if match[2] is None:
            raise ValueError(f"{match[0]!r} is not closed, write ${{params.name}}, or $${{ for a literal ${{")
        yield match[1].strip()


def render(text: str, value_of: Callable[[str], Any]) -> Any:
    """Return ``text`` with its placeholders replaced.

    A text that is one placeholder and nothing else becomes the value itself; within a text, what is no text itself is
    written as JSON.

    Args:
        text: a text whose placeholders are sound, see :func:`names`.
        value_of: returns the value of a name, such as ``params.region``.
    """
    whole = _PLACEHOLDER.fullmatch(text)
    if whole is not None and whole[1] is not None:
        return value_of(whole[1].strip())

    def replace(match: re.Match[str]) -> str:
        return "${" if match[1] is None else _text(value_of(match[1].strip()))

    return _PLACEHOLDER.sub(replace, text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
