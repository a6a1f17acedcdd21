"""From the events of a YAML parser to plain values, with every fault on the way."""

from __future__ import annotations

from typing import Any

import yaml

from runner.model.message import Message, advise, as_message
from runner.model.option import Path, describe
from runner.model.strict_json import MOST_NESTED
from runner.yaml_reader import lookalike
from runner.yaml_reader.document import Document
from runner.yaml_reader.problem import one_line
from runner.yaml_reader.scalar import Doubtful, resolve

MAX_ALIASED = 1_000_000
"""Values that aliases may repeat in one file; a file of a megabyte that means gigabytes stays far above."""


class Stop(Exception):
    """Reading cannot go on."""

    def __init__(self, mark: Any, message: str) -> None:
        self.mark = mark
        self.message = message


_NO_KEY: Any = object()
_MERGE: Any = object()
_BAD_KEY: Any = object()


class _Frame:
    """An open mapping or list."""

    __slots__ = ("anchor", "flow", "height", "held", "is_map", "key", "merges", "nodes")

    def __init__(self, is_map: bool, flow: bool, anchor: str | None, nodes: int) -> None:
        self.is_map = is_map
        self.flow = flow
        self.anchor = anchor
        self.nodes = nodes
        self.height = 0
        self.key: Any = _NO_KEY
        self.merges: list[Any] | None = None
        self.held: Any = {} if is_map else []


class Builder:
    """Turns events into values. One loop, no recursion, so that depth is a number and not a crash."""

    def __init__(self, document: Document, parser: Any) -> None:
        self.document = document
        self.parser = parser
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        self.open_anchors: set[str] = set()
        self.nodes = 0
        self.aliased = 0
        self.documents = 0

    def build(self) -> None:
        """Take all events of the parser; the value, and what is wrong with it, go into the document.

        Raises:
            Stop: what follows has no meaning.
            yaml.YAMLError: the text is not YAML.
        """
        # The calls of a file of thousands of lines: a look-up here is faster than a chain of comparisons.
        take = {
            yaml.ScalarEvent: self._scalar,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingEndEvent: self._close,
            yaml.SequenceEndEvent: self._close,
            yaml.AliasEvent: self._alias,
            yaml.DocumentStartEvent: self._check_document,
        }
        get_event = self.parser.get_event
        while True:
            event = get_event()
            kind = type(event)
            if kind is yaml.StreamEndEvent:
                return
            taken = take.get(kind)
            if taken is not None:
                taken(event)

    def _scalar(self, event: Any) -> None:
        self.nodes += 1
        frame = self.stack[-1] if self.stack else None
        as_key = frame is not None and frame.is_map and frame.key is _NO_KEY
        text = value = event.value
        if event.tag is not None:
            self._fault(event, advise(f"the tag {_show_tag(event.tag)} is not supported", "remove it"))
        if not event.style:
            try:
                value = resolve(text)
            except Doubtful as doubt:
                self._doubt(event, doubt, frame if as_key else None)
                if as_key:
                    return
            if not as_key and not text.isascii():
                self._check_lookalike(event, text, frame)
        if event.anchor is not None:
            self._anchor(event, event.anchor)
            self.anchors[event.anchor] = (value, 1, 0)
        if as_key:
            assert frame is not None
            self._key(event, frame, value)
        else:
            self._put(event, value)

    def _doubt(self, event: Any, doubt: Doubtful, frame: _Frame | None) -> None:
        """Report a scalar that has no one meaning; ``frame``: the mapping that it is a key of."""
        if frame is not None:
            self._fault_at_key(event, event.value, doubt.message)
            frame.key = _BAD_KEY
            return
        mark = event.start_mark
        width = len(event.value)
        self.document.refuse_value(mark.line, mark.column, self.path(), doubt.message, doubt.meanings, width)

    def _key(self, event: Any, frame: _Frame, value: Any) -> None:
        if type(value) is not str or value == "<<":
            frame.key = self._odd_key(event, frame, value)
        elif value in frame.held:
            self._fault_duplicate(event, value)
            frame.key = _BAD_KEY
        else:
            frame.key = value
            if len(self.stack) == 2:
                self.document.shallow_lines[(self.stack[0].key, value)] = event.start_mark.line + 1

    def _close(self, event: Any) -> None:
        frame = self.stack.pop()
        value = _merge(frame.merges, frame.held) if frame.merges else frame.held
        if frame.anchor is not None:
            self.open_anchors.discard(frame.anchor)
            self.anchors[frame.anchor] = (value, self.nodes - frame.nodes, frame.height)
        if self.stack and self.stack[-1].height <= frame.height:
            self.stack[-1].height = frame.height + 1
        self._put(event, value)

    def _put(self, event: Any, value: Any) -> None:
        """Put a value where it belongs: it is the file's, a list's, or that of the last key."""
        if not self.stack:
            self.document.value = value
            return
        frame = self.stack[-1]
        if not frame.is_map:
            frame.held.append(value)
            return
        key = frame.key
        frame.key = _NO_KEY
        if key is _MERGE:
            self._add_merge(event, frame, value)
        elif key is not _BAD_KEY:
            frame.held[key] = value

    def path(self) -> Path:
        """The path at which the parser is."""
        steps: list[str | int] = []
        for frame in self.stack:
            if not frame.is_map:
                steps.append(len(frame.held))
            elif frame.key is _MERGE:
                steps.append("<<")
            elif frame.key is not _NO_KEY and frame.key is not _BAD_KEY:
                steps.append(frame.key)
        return tuple(steps)

    def _fault(self, event: Any, message: str, path: Path | None = None) -> None:
        path = self.path() if path is None else path
        # The top of a file is not a path of its own: () would mean that nothing could be read.
        self.document.faulty.append(path or ("",))
        self.document.report_at(event.start_mark.line, event.start_mark.column, path, message)

    def _fault_at_key(self, event: Any, key: str, message: str) -> None:
        self._fault(event, as_message(message).after("as a key, "), (*self.path(), key))

    def _fault_duplicate(self, event: Any, key: str) -> None:
        path = (*self.path(), key)
        self._fault(
            event,
            advise(f"appears twice, first in line {self.document.line_of(path)}", "remove one or merge the two", "; "),
            path,
        )

    def _odd_key(self, event: Any, frame: _Frame, value: Any) -> Any:
        if value == "<<" and not event.style:
            if frame.merges is not None:
                self._fault(event, advise("<< appears twice", "write <<: [*first, *second]"))
                return _BAD_KEY
            frame.merges = []
            return _MERGE
        if value == "<<":
            return value
        what = f"expected a text as key, got {describe(value)}"
        quoted = f'"{event.value}"'
        if not event.value:
            self._fault(event, advise(what, "write a text before the colon"))
        else:
            self._fault(event, advise(what, f"quote it: {quoted}"))
        return _BAD_KEY

    def _open(self, event: Any) -> None:
        is_map = type(event) is yaml.MappingStartEvent
        self.nodes += 1
        stack = self.stack
        if event.tag is not None:
            self._fault(event, advise(f"the tag {_show_tag(event.tag)} is not supported", "remove it"))
        if stack and stack[-1].is_map and stack[-1].key is _NO_KEY:
            what = f"a key must be a text, not {'a mapping' if is_map else 'a list'}"
            quote = advise(what, "quote it if text is meant", "; ")
            raise Stop(event.start_mark, quote if event.flow_style else what)
        if len(stack) >= MOST_NESTED:
            raise Stop(event.start_mark, advise(f"nested more than {MOST_NESTED} deep", "make it flatter"))
        anchor = event.anchor
        if anchor is not None:
            self._anchor(event, anchor)
            self.open_anchors.add(anchor)
        flow = bool(event.flow_style) or bool(stack and stack[-1].flow)
        stack.append(_Frame(is_map, flow, anchor, self.nodes))

    def _anchor(self, event: Any, name: str) -> None:
        if name in self.anchors or name in self.open_anchors:
            self._fault(event, advise(f"the anchor &{name} appears twice", "give one of them another name"))

    def _alias(self, event: Any) -> None:
        name = event.anchor
        frame = self.stack[-1] if self.stack else None
        as_key = frame is not None and frame.is_map and frame.key is _NO_KEY
        if name in self.open_anchors:
            raise Stop(event.start_mark, f"*{name} stands inside &{name}, so that it would contain itself")
        if name not in self.anchors:
            mark = event.start_mark
            message = advise(f"there is no anchor &{name} above this", "quote it if a text with a star is meant", "; ")
            self.document.refuse_value(mark.line, mark.column, self.path(), message)
            value, nodes, height = None, 1, 0
        else:
            value, nodes, height = self.anchors[name]
        if as_key:
            assert frame is not None
            self._fault(event, advise("an alias cannot be a key", "write the text out"))
            frame.key = _BAD_KEY
            return
        self.nodes += nodes
        self.aliased += nodes
        if self.aliased > MAX_ALIASED:
            raise Stop(
                event.start_mark, advise(f"aliases repeat more than {MAX_ALIASED:,} values", "write the file out")
            )
        if len(self.stack) + height >= MOST_NESTED:
            raise Stop(
                event.start_mark, advise(f"nested more than {MOST_NESTED} deep through aliases", "make it flatter")
            )
        if frame is not None and frame.height < height + 1:
            frame.height = height + 1
        self._put(event, value)

    def _add_merge(self, event: Any, frame: _Frame, value: Any) -> None:
        assert frame.merges is not None
        sources = value if isinstance(value, list) else [value]
        if all(isinstance(source, dict) for source in sources):
            frame.merges.extend(sources)
        else:
            self._fault(
                event, advise(f"<< takes a mapping or a list of mappings, got {describe(value)}", "write <<: *name")
            )

    def _check_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise Stop(
                event.start_mark, "a second document begins here, keep one document in a file and remove the ---"
            )
        if event.tags:
            raise Stop(event.start_mark, advise("%TAG is not supported", "remove the line"))
        if event.version not in (None, (1, 2)):
            raise Stop(event.start_mark, advise("the file is read as YAML 1.2", "remove the line %YAML"))

    def _check_lookalike(self, event: Any, text: str, frame: _Frame | None) -> None:
        match = lookalike.in_plain(text, flow=bool(frame and frame.flow))
        if match:
            char = match[0][-1]
            mark = event.start_mark
            index = mark.column + match.end() - 1
            if event.start_mark.line != event.end_mark.line:
                index = mark.column
            explained = lookalike.explain(char)
            remedy = f"{explained.remedy}, or quote the whole text if it is meant"
            message = Message(f"{explained}, or quote the whole text if it is meant", remedy)
            self.document.refuse_value(mark.line, index, self.path(), message)


def _merge(sources: list[Any], own: dict[str, Any]) -> dict[str, Any]:
    # The first source wins over later ones, and the mapping's own keys over all.
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        merged.update(source)
    merged.update(own)
    return merged


def _show_tag(tag: str) -> str:
    short = tag.replace("tag:yaml.org,2002:", "!!")
    return one_line(short)
