"""Find the position of each key and value of a YAML text.

Only a file with a problem needs this, so the text is parsed a second time for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from runner.model.option import Path


class Place:
    """The place of one value: line and character index, both from 0, and those of what it holds."""

    __slots__ = ("children", "column", "keys", "line", "merged", "plain", "text")

    def __init__(self, mark: Any, text: str | None = None, *, quoted: bool = False) -> None:
        self.line: int = mark.line
        self.column: int = mark.column
        self.text = text
        """The text of a scalar."""
        self.plain = None if quoted else text
        """The source text of an unquoted scalar."""
        self.children: dict[str | int, Place] = {}
        self.keys: dict[str, Place] = {}
        self.merged: list[Place] = []

    def child(self, step: str | int) -> tuple[Place, Place] | None:
        """Return the places of key and value, also of one that ``<<`` brought in."""
        found = self.children.get(step)
        if found is not None:
            return self.keys.get(step, found) if isinstance(step, str) else found, found
        for merged in self.merged:
            through = merged.child(step)
            if through is not None:
                return through
        return None


def locate(root: Place, path: Path) -> tuple[Place, Place, bool]:
    """Return the places of the key and of the value at ``path``, and whether all of it was found.

    For a path that does not exist (an option that comes from elsewhere), the last part that does.
    """
    key = value = root
    for step in path:
        found = value.child(step)
        if found is None:
            return key, value, False
        key, value = found
    return key, value, True


def places(text: str, open_parser: Callable[[str], Any]) -> Place:
    """Return the place of the top value, with all below it. A text with a syntax error gives what stands before it."""
    parser = open_parser(text)
    root: Place | None = None
    # A frame is [place, key that waits for its value, whether it is a mapping]
    stack: list[list[Any]] = []
    anchors: dict[str, Place] = {}
    try:
        while parser.check_event():
            event: Any = parser.get_event()
            kind = type(event)
            if issubclass(kind, yaml.CollectionEndEvent):
                stack.pop()
                continue
            if kind is yaml.AliasEvent:
                place = anchors.get(event.anchor) or Place(event.start_mark)
            elif issubclass(kind, yaml.NodeEvent):
                scalar = kind is yaml.ScalarEvent
                place = (
                    Place(event.start_mark, event.value, quoted=bool(event.style))
                    if scalar
                    else Place(event.start_mark)
                )
                if event.anchor:
                    anchors[event.anchor] = place
            else:
                continue
            if root is None:
                root = place
            if stack:
                _add(stack[-1], place, event)
            if issubclass(kind, yaml.CollectionStartEvent):
                stack.append([place, None, kind is yaml.MappingStartEvent])
    except yaml.YAMLError:
        pass
    finally:
        parser.dispose()
    return root or Place(yaml.Mark("", 0, 0, 0, "", 0))


def _add(frame: list[Any], place: Place, event: Any) -> None:
    holder: Place = frame[0]
    if not frame[2]:
        holder.children[len(holder.children)] = place
    elif frame[1] is None:
        frame[1] = (event.value if isinstance(event, yaml.ScalarEvent) else "", place)
    else:
        name, at = frame[1]
        frame[1] = None
        if name == "<<" and at.plain is not None:
            # A list of mappings is filled only after this, so both it and its items are asked.
            holder.merged.append(_Merged(place))
        elif name not in holder.children:
            holder.children[name] = place
            holder.keys[name] = at


class _Merged(Place):
    """The value of ``<<``: a mapping or a list of mappings."""

    __slots__ = ("of",)

    def __init__(self, of: Place) -> None:
        self.of = of

    def child(self, step: str | int) -> tuple[Place, Place] | None:
        if self.of.keys or self.of.merged:
            return self.of.child(step)
        for item in list(self.of.children.values()):
            found = item.child(step)
            if found is not None:
                return found
        return None
