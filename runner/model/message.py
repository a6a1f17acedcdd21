"""Messages about a fault: text that keeps apart what to do about it."""

from __future__ import annotations

from collections.abc import Callable


class Message(str):
    """A message about a fault, with the remedy as data.

    It is a string, so code that needs only the text (an exception, a log, JSON) can ignore the rest.
    Adding to it gives a plain text: use :meth:`after` to put words before it.
    """

    __slots__ = ("quotable", "remedy", "replacement")

    remedy: str
    """What to do, which is also the end of the text; empty if the text names nothing."""
    replacement: str
    """The source text that the faulty key or value is to be replaced with; empty where that is not known.

    It is sound by itself: the option takes it, and the key does not stand there already.
    """
    quotable: Callable[[str], bool] | None
    """Whether a text is accepted in place of the value; None where quoting the value would not help."""

    def __new__(
        cls,
        text: str,
        remedy: str = "",
        *,
        replacement: str = "",
        quotable: Callable[[str], bool] | None = None,
    ) -> Message:
        made = super().__new__(cls, text)
        made.remedy = remedy
        made.replacement = replacement
        made.quotable = quotable
        return made

    def after(self, words: str) -> Message:
        """Return the message with some words before it."""
        return Message(words + self, self.remedy, replacement=self.replacement, quotable=self.quotable)


def hint(words: str) -> Message:
    """Return the advice for another tool's option that has no single equivalent here."""
    return Message(f"({words})")


def advise(what: str, remedy: str, joint: str = ", ", *, replacement: str = "") -> Message:
    """Return the message ``what``, which ends with its remedy."""
    return Message(what + joint + remedy, remedy, replacement=replacement)


def message_of(error: Exception) -> str:
    """Return the message that an exception was made with: ``str`` would make a plain text of it."""
    return error.args[0] if error.args and isinstance(error.args[0], Message) else str(error)


def as_message(text: str) -> Message:
    """Return a text as a message; one that is a message already as it is."""
    return text if isinstance(text, Message) else Message(text)
