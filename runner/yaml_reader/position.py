"""Find the position of each key and value of a YAML text.

Only a file with a problem needs them, so the text is parsed a second time for them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from runner.model.option import Path


class Position:
    """The position of a value and of all that it holds: line and character index, both from 0."""

    __slots__ = ("children", "column", "keys", "line", "merged", "plain", "text")

    def __init__(self, mark: Any, text: str | None = None, *, quoted: bool = False) -> None:
        self.line: int = mark.line
        self.column: int = mark.column
        self.text = text
        """The text of a scalar."""
        self.plain = None if quoted else text
        """The source text of an unquoted scalar."""
        self.children: dict[str | int, Position] = {}
        self.keys: dict[str, Position] = {}
        self.merged: list[Position] = []

    def child(self, step: str | int) -> tuple[Position, Position] | None:
        """Return the positions of a key and its value, which may come from a mapping merged by ``<<``."""
        found = self.children.get(step)
        if found is not None:
            return self.keys.get(step, found) if isinstance(step, str) else found, found
        for merged in self.merged:
            through = merged.child(step)
            if through is not None:
                return through
        return None


class _Collection:
    """A mapping or list that is being read."""

    __slots__ = ("is_map", "key", "position")

    def __init__(self, position: Position, is_map: bool) -> None:
        self.position = position
        self.is_map = is_map
        self.key: tuple[str, Position] | None = None
        """The key that waits for its value."""

    def add(self, position: Position, event: Any) -> None:
        """Add the next node: an item, a key, or the value of the last key."""
        own = self.position
        if not self.is_map:
            own.children[len(own.children)] = position
        elif self.key is None:
            self.key = (event.value if isinstance(event, yaml.ScalarEvent) else "", position)
        else:
            name, at = self.key
            self.key = None
            if name == "<<" and at.plain is not None:
                # A list of mappings is filled only after this, so both it and its items are searched.
                own.merged.append(_Merged(position))
            elif name not in own.children:
                own.children[name] = position
                own.keys[name] = at


def locate(root: Position, path: Path) -> tuple[Position, Position, bool]:
    """Return the positions of the key and of the value at ``path``, and whether the path exists.

    If it does not, because an option comes from elsewhere, the positions are those of the last part that exists.
    """
    key = value = root
    for step in path:
        found = value.child(step)
        if found is None:
            return key, value, False
        key, value = found
    return key, value, True


def positions(text: str, open_parser: Callable[[str], Any]) -> Position:
    """Return the position of the top value with all below it; of a text with a syntax error, those before the error."""
    parser = open_parser(text)
    root: Position | None = None
    stack: list[_Collection] = []
    anchors: dict[str, Position] = {}
    try:
        while parser.check_event():
            event: Any = parser.get_event()
            event_type = type(event)
            if issubclass(event_type, yaml.CollectionEndEvent):
                stack.pop()
                continue
            if event_type is yaml.AliasEvent:
                position = anchors.get(event.anchor) or Position(event.start_mark)
            elif issubclass(event_type, yaml.NodeEvent):
                scalar = event_type is yaml.ScalarEvent
                position = (
                    Position(event.start_mark, event.value, quoted=bool(event.style))
                    if scalar
                    else Position(event.start_mark)
                )
                if event.anchor:
                    anchors[event.anchor] = position
            else:
                continue
            if root is None:
                root = position
            if stack:
                stack[-1].add(position, event)
            if issubclass(event_type, yaml.CollectionStartEvent):
                stack.append(_Collection(position, event_type is yaml.MappingStartEvent))
    except yaml.YAMLError:
        pass
    finally:
        parser.dispose()
    return root or Position(yaml.Mark("", 0, 0, 0, "", 0))


class _Merged(Position):
    """The value of ``<<``: a mapping or a list of mappings."""

    __slots__ = ("of",)

    def __init__(self, of: Position) -> None:
        self.of = of

    def child(self, step: str | int) -> tuple[Position, Position] | None:
        if self.of.keys or self.of.merged:
            return self.of.child(step)
        for item in list(self.of.children.values()):
            found = item.child(step)
            if found is not None:
                return found
        return None
