"""Build plain values from the events of a YAML parser, and report every problem on the way."""

from __future__ import annotations

from typing import Any

import yaml

from runner.model.message import Message, advise
from runner.model.option import Path, closest, describe
from runner.model.strict_json import MOST_NESTED
from runner.yaml_reader import lookalike
from runner.yaml_reader.document import Document
from runner.yaml_reader.parser import OPEN_PARSER
from runner.yaml_reader.problem import one_line
from runner.yaml_reader.scalar import Doubtful, resolve

MAX_ALIASED = 1_000_000
"""How many values the aliases of one file may repeat; a "billion laughs" file has far more."""


class Stop(Exception):
    """The rest of the file cannot be read."""

    def __init__(self, mark: Any, message: str) -> None:
        self.mark = mark
        self.message = message


_NO_KEY: Any = object()
_MERGE: Any = object()
_BAD_KEY: Any = object()


class _Collection:
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
    """Turns events into values, in a loop without recursion, so that a deep file is a problem and no crash."""

    def __init__(self, document: Document, parser: Any) -> None:
        self.document = document
        self.parser = parser
        self.stack: list[_Collection] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        self.open_anchors: set[str] = set()
        self.nodes = 0
        self.aliased = 0
        self.documents = 0

    def build(self) -> None:
        """Read all events of the parser; store the value and its problems in the document.

        Raises:
            Stop: the rest of the file has no meaning.
            yaml.YAMLError: the text is not YAML.
        """
        # A file of thousands of lines has ten thousands of events: a look-up is faster than a chain of comparisons.
        handlers = {
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
            if type(event) is yaml.StreamEndEvent:
                return
            handle = handlers.get(type(event))
            if handle is not None:
                handle(event)

    def _scalar(self, event: Any) -> None:
        self.nodes += 1
        parent = self.stack[-1] if self.stack else None
        as_key = parent is not None and parent.is_map and parent.key is _NO_KEY
        text = value = event.value
        if event.tag is not None:
            self._report_tag(event)
        if not event.style:
            try:
                value = resolve(text)
            except Doubtful as doubt:
                self._doubt(event, doubt, parent if as_key else None)
                if as_key:
                    return
            if not as_key and not text.isascii():
                self._check_lookalike(event, text, parent)
        if event.anchor is not None:
            self._anchor(event, event.anchor)
            self.anchors[event.anchor] = (value, 1, 0)
        if as_key:
            assert parent is not None
            self._key(event, parent, value)
        else:
            self._put(event, value)

    def _doubt(self, event: Any, doubt: Doubtful, parent: _Collection | None) -> None:
        """Report a scalar that readers do not agree on; ``parent``: the mapping that it is a key of."""
        mark = event.start_mark
        if parent is not None:
            what = doubt.message.removesuffix(f", {doubt.message.remedy}")
            quoted = f'"{event.value}"'
            message = advise(f"as a key, {what}", f"quote it: {quoted}", replacement=quoted)
            self._fault(event, message, (*self.path(), event.value), replaced=len(event.value))
            parent.key = _BAD_KEY
            return
        width = len(event.value)
        self.document.refuse_value(mark.line, mark.column, self.path(), doubt.message, doubt.meanings, width)

    def _key(self, event: Any, parent: _Collection, value: Any) -> None:
        if type(value) is not str or value == "<<":
            parent.key = self._odd_key(event, parent, value)
        elif value in parent.held:
            self._fault_duplicate(event, value)
            parent.key = _BAD_KEY
        else:
            parent.key = value
            if len(self.stack) == 2:
                self.document.shallow_lines[(self.stack[0].key, value)] = event.start_mark.line + 1

    def _close(self, event: Any) -> None:
        closed = self.stack.pop()
        value = _merge(closed.merges, closed.held) if closed.merges else closed.held
        if closed.anchor is not None:
            self.open_anchors.discard(closed.anchor)
            self.anchors[closed.anchor] = (value, self.nodes - closed.nodes, closed.height)
        if self.stack and self.stack[-1].height <= closed.height:
            self.stack[-1].height = closed.height + 1
        self._put(event, value)

    def _put(self, event: Any, value: Any) -> None:
        """Store a value: as that of the file, as the next item of the list, or under the last key of the mapping."""
        if not self.stack:
            self.document.value = value
            return
        parent = self.stack[-1]
        if not parent.is_map:
            parent.held.append(value)
            return
        key = parent.key
        parent.key = _NO_KEY
        if key is _MERGE:
            self._add_merge(event, parent, value)
        elif key is not _BAD_KEY:
            parent.held[key] = value

    def path(self) -> Path:
        """Return the path that the parser has reached."""
        steps: list[str | int] = []
        for parent in self.stack:
            if not parent.is_map:
                steps.append(len(parent.held))
            elif parent.key is _MERGE:
                steps.append("<<")
            elif parent.key is not _NO_KEY and parent.key is not _BAD_KEY:
                steps.append(parent.key)
        return tuple(steps)

    def _fault(self, event: Any, message: str, path: Path | None = None, replaced: int = 0) -> None:
        path = self.path() if path is None else path
        # The top of a file is not a path of its own: () would mean that nothing could be read.
        self.document.faulty.append(path or ("",))
        mark = event.start_mark
        self.document.report_at(mark.line, mark.column, path, message, replaced=replaced)

    def _report_tag(self, event: Any) -> None:
        mark = event.start_mark
        line = self.document.line_without_tag(mark.line, mark.column)
        message = Message(f"the tag {_show_tag(event.tag)} is not supported, remove it", "remove it", line=line)
        self._fault(event, message)

    def _fault_duplicate(self, event: Any, key: str) -> None:
        path = (*self.path(), key)
        line = self.document.line_of(path)
        self._fault(event, advise(f"is in line {line} already", "remove one, or merge the two"), path)

    def _odd_key(self, event: Any, parent: _Collection, value: Any) -> Any:
        if value == "<<" and not event.style:
            if parent.merges is not None:
                self._fault(event, advise("<< appears twice", "merge both with one: <<: [*first, *second]"))
                return _BAD_KEY
            parent.merges = []
            return _MERGE
        if value == "<<":
            return value
        what = f"a key must be text, not {'null' if value is None else describe(value)}"
        if not event.value:
            self._fault(event, advise(what, "write a text before the colon"))
        else:
            quoted = f'"{event.value}"'
            self._fault(event, advise(what, f"quote it: {quoted}"))
        return _BAD_KEY

    def _open(self, event: Any) -> None:
        is_map = type(event) is yaml.MappingStartEvent
        self.nodes += 1
        stack = self.stack
        if event.tag is not None:
            self._report_tag(event)
        if stack and stack[-1].is_map and stack[-1].key is _NO_KEY:
            what = f"a key must be text, not {'a mapping' if is_map else 'a list'}"
            raise Stop(event.start_mark, advise(what, "quote it") if event.flow_style else what)
        if len(stack) >= MOST_NESTED:
            raise Stop(event.start_mark, advise(f"nested more than {MOST_NESTED} levels deep", "nest it less"))
        anchor = event.anchor
        if anchor is not None:
            self._anchor(event, anchor)
            self.open_anchors.add(anchor)
        flow = bool(event.flow_style) or bool(stack and stack[-1].flow)
        stack.append(_Collection(is_map, flow, anchor, self.nodes))

    def _anchor(self, event: Any, name: str) -> None:
        if name in self.anchors or name in self.open_anchors:
            self._fault(event, advise(f"the anchor &{name} is defined twice", "rename one of them"))

    def _alias(self, event: Any) -> None:
        name = event.anchor
        parent = self.stack[-1] if self.stack else None
        as_key = parent is not None and parent.is_map and parent.key is _NO_KEY
        if name in self.open_anchors:
            raise Stop(event.start_mark, advise(f"*{name} is inside &{name}, so it would contain itself", "remove it"))
        if name not in self.anchors:
            mark = event.start_mark
            what = f"there is no anchor &{name} above"
            close = closest(name, self.anchors)
            message = advise(what, f'define it, or quote the text: "*{name}"')
            if close is not None:
                message = Message(f"{what}, did you mean *{close}?", replacement=f"*{close}")
            self.document.refuse_value(mark.line, mark.column, self.path(), message, width=len(name) + 1)
            value, nodes, height = None, 1, 0
        else:
            value, nodes, height = self.anchors[name]
        if as_key:
            assert parent is not None
            self._fault(event, advise("an alias cannot be a key", "write the key itself"))
            parent.key = _BAD_KEY
            return
        self.nodes += nodes
        self.aliased += nodes
        if self.aliased > MAX_ALIASED:
            raise Stop(
                event.start_mark,
                advise(f"aliases repeat more than {MAX_ALIASED:,} values", "use fewer of them"),
            )
        if len(self.stack) + height >= MOST_NESTED:
            raise Stop(
                event.start_mark, advise(f"nested more than {MOST_NESTED} levels deep by its aliases", "nest it less")
            )
        if parent is not None and parent.height < height + 1:
            parent.height = height + 1
        self._put(event, value)

    def _add_merge(self, event: Any, parent: _Collection, value: Any) -> None:
        assert parent.merges is not None
        sources = value if isinstance(value, list) else [value]
        if all(isinstance(source, dict) for source in sources):
            parent.merges.extend(sources)
        else:
            self._fault(
                event, advise(f"<< takes a mapping or a list of mappings, got {describe(value)}", "write <<: *name")
            )

    def _check_document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise Stop(
                event.start_mark,
                advise("a second document begins here", "move it to another file, or remove the ---"),
            )
        if event.tags:
            raise Stop(event.start_mark, advise("%TAG is not supported", "remove this line"))
        if event.version not in (None, (1, 2)):
            raise Stop(event.start_mark, advise("files are read as YAML 1.2", "remove this line"))

    def _check_lookalike(self, event: Any, text: str, parent: _Collection | None) -> None:
        match = lookalike.in_plain(text, flow=bool(parent and parent.flow))
        if match:
            char = match[0][-1]
            mark = event.start_mark
            index = mark.column + match.end() - 1
            if event.start_mark.line != event.end_mark.line:
                index = mark.column
            what = lookalike.describe(char)
            typed, quoted = lookalike.to_ascii(text), f'"{text}"'
            message = advise(what, f"write {typed}, or {quoted} for text", alternatives=(typed, quoted))
            if event.start_mark.line != event.end_mark.line:
                self.document.refuse_value(mark.line, index, self.path(), message)
                return
            # In brackets a comma would begin another item, whose option is another one.
            meanings = [] if parent and parent.flow else [(typed, _value_of(typed)), (quoted, text)]
            self.document.refuse_value(mark.line, index, self.path(), message, meanings, len(text), mark.column)


def _value_of(text: str) -> Any:
    try:
        return yaml.load(text, OPEN_PARSER)  # noqa: S506  # both are safe
    except yaml.YAMLError:
        return text


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
