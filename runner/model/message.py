"""Messages about problems, which keep the remedy apart from the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self


class Message(str):
    """A message about a problem, with the remedy as data.

    It is a string, so code that needs only the text (an exception, a log, JSON) can ignore the rest. Adding to it
    gives a plain string: use :meth:`after` to put a text before it.

    Attributes:
        remedy: what to do, which is also the end of the text; empty if the text does not say.
        replacement: the source text to write in place of the wrong key or value; empty if that is not known. It is
            correct by itself: the option accepts it, and the mapping does not have that key yet.
        alternatives: several such texts, where nobody can know which one was meant.
        replaces: the part of the value that the replacement takes the place of; empty for all of it.
        line: the whole line as it was probably meant; empty if that is not known.
        quotable: returns whether the option accepts a text in place of the value; None where quotes would not help.
    """

    __slots__ = ("alternatives", "line", "quotable", "remedy", "replacement", "replaces")

    remedy: str
    replacement: str
    alternatives: tuple[str, ...]
    replaces: str
    line: str
    quotable: Callable[[str], bool] | None

    def __new__(
        cls,
        text: str,
        remedy: str = "",
        *,
        replacement: str = "",
        alternatives: tuple[str, ...] = (),
        replaces: str = "",
        line: str = "",
        quotable: Callable[[str], bool] | None = None,
    ) -> Self:
        made = super().__new__(cls, text)
        made.remedy = remedy
        made.replacement = replacement
        made.alternatives = alternatives
        made.replaces = replaces
        made.line = line
        made.quotable = quotable
        return made

    def after(self, prefix: str, replaces: str = "") -> Message:
        """Return the message with a text before it; ``replaces`` as above, if the message does not say."""
        return Message(
            prefix + self,
            self.remedy,
            replacement=self.replacement,
            alternatives=self.alternatives,
            replaces=self.replaces or replaces,
            line=self.line,
            quotable=self.quotable,
        )


class ShellOption(Message):
    """The message about a key that is a kwarg of the stock task for commands, such as ``script`` or ``cwd``."""

    __slots__ = ("kwarg",)

    kwarg: str


def shell_option(purpose: str, kwarg: str, example: str) -> ShellOption:
    """Return the message about a key that is a kwarg of the stock task for commands."""
    advice = f"write task: {SHELL} and kwargs: {{{kwarg}: {example}}}"
    made = ShellOption(f"(for {purpose}, {advice})", advice)
    made.kwarg = kwarg
    return made


SHELL = "runner.tasks.shell:run"
"""The stock task that runs a command or a shell script."""


def hint(text: str) -> Message:
    """Return advice about another tool's option that has no single counterpart here."""
    return Message(f"({text})")


def advise(
    problem: str,
    remedy: str,
    joint: str = ", ",
    *,
    replacement: str = "",
    alternatives: tuple[str, ...] = (),
    replaces: str = "",
) -> Message:
    """Return a message that says what is wrong and then, after ``joint``, what to do."""
    text = problem + joint + remedy
    return Message(text, remedy, replacement=replacement, alternatives=alternatives, replaces=replaces)


def suggest(problem: str, name: str, *, replacement: str = "") -> Message:
    """Return a message that asks whether ``name`` was meant."""
    return Message(f"{problem}, did you mean {name}?", replacement=replacement)


def message_of(error: Exception) -> str:
    """Return the message that an exception was made with; ``str(error)`` would lose its remedy."""
    return error.args[0] if error.args and isinstance(error.args[0], Message) else str(error)


def as_message(text: str) -> Message:
    """Return a text as a message; a message is returned unchanged."""
    return text if isinstance(text, Message) else Message(text)
