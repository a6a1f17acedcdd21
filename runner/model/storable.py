"""Text of unknown origin, made fit to be stored and shown: of bounded length, and valid in UTF-8."""

from __future__ import annotations

from collections.abc import Callable

LONGEST_UNCUT = 8 * 1024 * 1024
"""Characters that are searched for secrets. Far fewer are kept, so that no half of a secret is left at a cut."""

LONGEST_NAME = 200
"""Characters of the name of a class or a module that are kept."""


def storable(text: str) -> str:
    """Return ``text`` without what UTF-8 cannot say: half of a surrogate pair becomes ``\\udXXX``."""
    # Methods of `str` itself: a class derived from it may have others.
    return str.encode(text, "utf-8", "backslashreplace").decode("utf-8")


def cut(text: str, length: int) -> str:
    """Return the first ``length`` characters of ``text``, and a sign if there were more."""
    return text if len(text) <= length else text[:length] + "…"


def words_of(
    value: object, length: int, *, say: Callable[[object], str] = repr, mask: Callable[[str], str] = str
) -> str:
    """Return a bounded, storable text of ``value``, whatever code its class runs.

    Args:
        value: any object.
        length: characters that are kept, the first ones.
        say: ``repr`` or ``str``.
        mask: takes secrets out of a text; called before it is cut.
    """
    try:
        said = str.__getitem__(say(value), slice(LONGEST_UNCUT))
        return cut(mask(storable(said)), length)
    except BaseException:  # noqa: BLE001 - somebody's code, which may raise anything
        return f"<{names_of(type(value))[1]} that cannot be shown>"


def names_of(cls: type) -> tuple[str, str]:
    """Return the module and the qualified name of a class, bounded and storable."""
    # A metaclass may answer anything when the class itself is asked.
    module = type.__dict__["__module__"].__get__(cls)
    name = type.__dict__["__qualname__"].__get__(cls)
    known = module if isinstance(module, str) else "unknown"
    return cut(storable(known), LONGEST_NAME), cut(storable(name), LONGEST_NAME)
