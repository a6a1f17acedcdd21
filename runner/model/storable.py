"""Make text from unknown objects storable: of limited length, and valid in UTF-8."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_UNCUT = 8 * 1024 * 1024
"""How many characters are searched for secrets. Far fewer are stored, so truncation leaves no part of a secret."""

LONGEST_NAME = 200
"""The longest stored name of a class or module, in characters."""


def storable(text: str) -> str:
    """Return ``text`` in a form that UTF-8 can encode: half of a surrogate pair becomes ``\\udXXX``."""
    # The methods of `str` itself, because a subclass may override them.
    return str.encode(text, "utf-8", "backslashreplace").decode("utf-8")


def cut(text: str, length: int) -> str:
    """Return the first ``length`` characters of ``text``, followed by an ellipsis if there are more."""
    return text if len(text) <= length else text[:length] + "…"


def short_text(
    value: object, length: int, *, say: Callable[[object], str] = repr, mask: Callable[[str], str] = str
) -> str:
    """Return a short, storable text for ``value``, even if the code of its class fails.

    Args:
        value: any object.
        length: the largest number of characters.
        say: ``repr`` or ``str``.
        mask: masks secrets in a text; called before truncation.
    """
    try:
        text = str.__getitem__(say(value), slice(LONGEST_UNCUT))
        return cut(mask(storable(text)), length)
    except BaseException:  # noqa: BLE001 - code of the class, which may raise anything
        return f"<{names_of(type(value))[1]} that cannot be shown>"


def names_of(cls: type) -> tuple[str, str]:
    """Return the module and the qualified name of a class as short, storable texts."""
    # Not by the attributes of the class, which a metaclass may override.
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    known = module if isinstance(module, str) else "unknown"
    return cut(storable(known), LONGEST_NAME), cut(storable(name), LONGEST_NAME)
