"""A strict reader of YAML: plain JSON values, every fault with line and column, in one go.

It is built on the events of PyYAML's parser (libyaml's, where it was compiled in), so that nothing is
ever constructed that JSON could not hold, and reading goes on after a fault wherever the text still has
one meaning. :class:`Document` holds the value, the problems, and where each key and value stands.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from runner.model.option import QUOTE_IT, Path, describe
from runner.spec import lookalike, syntax
from runner.spec.place import Place, locate, places
from runner.spec.problem import Problem, display_column, one_line, show_path
from runner.spec.scalar import Doubtful, resolve

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_ALIASED = 1_000_000
"""Values that aliases may repeat in one file; a file of a megabyte that means gigabytes stays far above."""
MAX_FAULTS = 200
"""Faults told of one file; more are one fault many times over."""

_OPEN_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class Document:
    """One file: its value, its problems, and where things stand in it."""

    def __init__(self, file: str, text: str = "") -> None:
        self.file = file
        self.value: Any = None
        self.problems: list[Problem] = []
        self.faulty: list[Path] = []
        """The paths under which the value is not what the file says; ``()`` if nothing could be read."""
        self.shallow_lines: dict[Path, int] = {}
        """Lines, counted from 1, of the keys two deep: known without parsing again."""
        self._text = text
        self._lines: list[str] | None = None
        self._root: Place | None = None
        self._seen: set[tuple[int, int, str]] = set()
        self._told: set[Path] = set()

    @property
    def readable(self) -> bool:
        """Whether the file had a value at all."""
        return () not in self.faulty

    def report(self, path: Path, message: str, *, on_key: bool = False) -> None:
        """Add a problem at ``path``; the model's :class:`~runner.model.option.Report`.

        A value whose text was refused already is not reported again.
        """
        if not on_key and path in self._told:
            return
        key, value, exists = locate(self._places(), path)
        at = key if on_key or not exists else value
        if not on_key and exists and message.endswith(QUOTE_IT) and value.plain:
            message += f': "{value.plain}"'
        source = path[-1] if on_key and path else (value.plain if exists else None)
        if isinstance(source, str) and (match := lookalike.find(source)):
            message += f"; {lookalike.explain(match[0])}"
        self.report_at(at.line, at.column, path, message)

    def refuse_value(self, line: int, index: int, path: Path, message: str) -> None:
        """Add a problem of the text of a scalar; what stands for it is not what the file says."""
        self.faulty.append(path or ("",))
        self._told.add(path)
        self.report_at(line, index, path, message)

    def report_at(self, line: int, index: int, path: Path, message: str) -> None:
        """Add a problem at a line and character index, both from 0."""
        column = display_column(self._line(line), index)
        # Two jobs that share a value through an anchor share its fault.
        if (line, column, message) not in self._seen and len(self.problems) < MAX_FAULTS:
            self._seen.add((line, column, message))
            self.problems.append(Problem(self.file, line + 1, column, show_path(path), one_line(message)))

    def refuse(self, message: str, line: int = 0, index: int = 0) -> Document:
        """Add a problem that leaves nothing to read."""
        self.value = None
        self.faulty.append(())
        self.report_at(line, index, (), message)
        return self

    def line_of(self, path: Path) -> int:
        """Return the line, counted from 1, of the key at ``path``."""
        line = self.shallow_lines.get(path)
        if line is not None:
            return line
        return locate(self._places(), path)[0].line + 1

    def _places(self) -> Place:
        if self._root is None:
            self._root = places(self._text, _OPEN_PARSER)
        return self._root

    def _line(self, line: int) -> str:
        if self._lines is None:
            self._lines = self._text.splitlines()
        return self._lines[line] if line < len(self._lines) else ""


def read_bytes(data: bytes, file: str) -> Document:
    """Read the content of a file. ``file`` is how messages name it. Never raises for bad content."""
    if len(data) > MAX_BYTES:
        return Document(file).refuse(f"is {len(data):,} bytes long, at most 1 MiB is read; split it into several files")
    for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32")):
        if data.startswith(mark):
            return Document(file).refuse(f"is encoded in {name}, save it as UTF-8")
    if b"\x00" in data[:4] and len(data) > 1:
        return Document(file).refuse("looks like UTF-16 without a byte-order mark, save it as UTF-8")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        line = before.count("\n")
        document = Document(file, data.decode("utf-8", "replace").removeprefix("\ufeff"))
        index = len(before) - before.rfind("\n") - 1
        return document.refuse(f"byte 0x{data[error.start]:02x} is not UTF-8, save the file as UTF-8", line, index)
    return read_text(text, file)


def read_text(text: str, file: str) -> Document:
    """Read a text, as :func:`read_bytes`."""
    document = Document(file, text)
    match = _FORBIDDEN.search(text)
    if match:
        line = text.count("\n", 0, match.start())
        index = match.start() - text.rfind("\n", 0, match.start()) - 1
        char = ord(match[0])
        return document.refuse(
            f"character U+{char:04X} is not allowed, remove it or write \\u{char:04x} in quotes", line, index
        )
    parser = _OPEN_PARSER(text)
    try:
        _Builder(document, parser).build()
    except _Stop as stop:
        document.refuse(stop.message, stop.mark.line, stop.mark.column)
    except yaml.YAMLError as error:
        fault = syntax.explain(error, text)
        document.refuse(fault.message, fault.line, fault.index)
    finally:
        parser.dispose()
    if "\t" in text and document.readable:
        _report_tabs(document, text)
    return document


class _Stop(Exception):  # noqa: N818
    """Reading can not go on."""

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


class _Builder:
    """Turns events into values. One loop, no recursion, so that depth is a number and not a crash."""

    def __init__(self, document: Document, parser: Any) -> None:
        self.document = document
        self.parser = parser
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[Any, int, int]] = {}
        self.open_anchors: set[str] = set()
        self.nodes = 0
        self.aliased = 0

    def build(self) -> None:
        get_event = self.parser.get_event
        stack = self.stack
        value: Any
        documents = 0
        while True:
            event = get_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self.nodes += 1
                frame = stack[-1] if stack else None
                text = event.value
                if event.tag is not None:
                    self._fault(event, f"the tag {_show_tag(event.tag)} is not supported, remove it")
                if event.style:
                    value = text
                else:
                    try:
                        value = resolve(text)
                    except Doubtful as doubt:
                        if frame is not None and frame.is_map and frame.key is _NO_KEY:
                            self._fault_at_key(event, text, str(doubt))
                            frame.key = _BAD_KEY
                            continue
                        mark = event.start_mark
                        self.document.refuse_value(mark.line, mark.column, self.path(), str(doubt))
                        value = text
                    if not text.isascii():
                        self._check_lookalike(event, text, frame)
                if event.anchor is not None:
                    self._anchor(event, event.anchor)
                    self.anchors[event.anchor] = (value, 1, 0)
                if frame is not None and frame.is_map and frame.key is _NO_KEY:
                    if type(value) is str and value != "<<":
                        if value in frame.held:
                            self._fault_duplicate(event, value)
                            frame.key = _BAD_KEY
                        else:
                            frame.key = value
                            if len(stack) == 2:
                                self.document.shallow_lines[(stack[0].key, value)] = event.start_mark.line + 1
                    else:
                        frame.key = self._odd_key(event, frame, value)
                    continue
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event, kind is yaml.MappingStartEvent)
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                frame = stack.pop()
                value = frame.held
                if frame.merges:
                    value = _merge(frame.merges, value)
                if frame.anchor is not None:
                    self.open_anchors.discard(frame.anchor)
                    self.anchors[frame.anchor] = (value, self.nodes - frame.nodes, frame.height)
                if stack and stack[-1].height <= frame.height:
                    stack[-1].height = frame.height + 1
            elif kind is yaml.AliasEvent:
                value = self._alias(event)
                if value is _BAD_KEY:
                    continue
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                self._check_document(event, documents)
                continue
            elif kind is yaml.StreamEndEvent:
                return
            else:
                continue
            if not stack:
                self.document.value = value
                continue
            frame = stack[-1]
            if not frame.is_map:
                frame.held.append(value)
                continue
            key = frame.key
            frame.key = _NO_KEY
            if key is _MERGE:
                self._add_merge(event, frame, value)
            elif key is not _BAD_KEY:
                frame.held[key] = value

    def path(self) -> Path:
        """Where the parser stands."""
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
        self._fault(event, f"as a key, {message}" if message else "", (*self.path(), key))

    def _fault_duplicate(self, event: Any, key: str) -> None:
        path = (*self.path(), key)
        self._fault(
            event, f"stands twice, first in line {self.document.line_of(path)}; remove one or merge the two", path
        )

    def _odd_key(self, event: Any, frame: _Frame, value: Any) -> Any:
        if value == "<<" and not event.style:
            if frame.merges is not None:
                self._fault(event, "<< stands twice, write <<: [*first, *second]")
                return _BAD_KEY
            frame.merges = []
            return _MERGE
        if value == "<<":
            return value
        written = f', quote it: "{event.value}"' if event.value else ", write a text before the colon"
        self._fault(event, f"expected a text as key, got {describe(value)}{written}")
        return _BAD_KEY

    def _open(self, event: Any, is_map: bool) -> None:
        self.nodes += 1
        stack = self.stack
        if event.tag is not None:
            self._fault(event, f"the tag {_show_tag(event.tag)} is not supported, remove it")
        if stack and stack[-1].is_map and stack[-1].key is _NO_KEY:
            shown = "; quote it if text is meant" if event.flow_style else ""
            raise _Stop(event.start_mark, f"a key must be a text, not {'a mapping' if is_map else 'a list'}{shown}")
        if len(stack) >= MAX_DEPTH:
            raise _Stop(event.start_mark, f"nested more than {MAX_DEPTH} deep, make it flatter")
        anchor = event.anchor
        if anchor is not None:
            self._anchor(event, anchor)
            self.open_anchors.add(anchor)
        flow = bool(event.flow_style) or bool(stack and stack[-1].flow)
        stack.append(_Frame(is_map, flow, anchor, self.nodes))

    def _anchor(self, event: Any, name: str) -> None:
        if name in self.anchors or name in self.open_anchors:
            self._fault(event, f"the anchor &{name} stands twice, give one of them another name")

    def _alias(self, event: Any) -> Any:
        name = event.anchor
        frame = self.stack[-1] if self.stack else None
        as_key = frame is not None and frame.is_map and frame.key is _NO_KEY
        if name in self.open_anchors:
            raise _Stop(event.start_mark, f"*{name} stands inside &{name}, so that it would contain itself")
        if name not in self.anchors:
            mark = event.start_mark
            message = f"there is no anchor &{name} above this; quote it if a text with a star is meant"
            self.document.refuse_value(mark.line, mark.column, self.path(), message)
            value, nodes, height = None, 1, 0
        else:
            value, nodes, height = self.anchors[name]
        if as_key:
            assert frame is not None
            self._fault(event, "an alias can not be a key, write the text out")
            frame.key = _BAD_KEY
            return _BAD_KEY
        self.nodes += nodes
        self.aliased += nodes
        if self.aliased > MAX_ALIASED:
            raise _Stop(event.start_mark, f"aliases repeat more than {MAX_ALIASED:,} values, write the file out")
        if len(self.stack) + height >= MAX_DEPTH:
            raise _Stop(event.start_mark, f"nested more than {MAX_DEPTH} deep through aliases, make it flatter")
        if frame is not None and frame.height < height + 1:
            frame.height = height + 1
        return value

    def _add_merge(self, event: Any, frame: _Frame, value: Any) -> None:
        assert frame.merges is not None
        sources = value if isinstance(value, list) else [value]
        if all(isinstance(source, dict) for source in sources):
            frame.merges.extend(sources)
        else:
            self._fault(event, f"<< takes a mapping or a list of mappings, got {describe(value)}")

    def _check_document(self, event: Any, documents: int) -> None:
        if documents > 1:
            raise _Stop(event.start_mark, "a second document begins here, keep one a file and remove the ---")
        if event.tags:
            raise _Stop(event.start_mark, "%TAG is not supported, remove the line")
        if event.version not in (None, (1, 2)):
            raise _Stop(event.start_mark, "the file is read as YAML 1.2, remove the line %YAML")

    def _check_lookalike(self, event: Any, text: str, frame: _Frame | None) -> None:
        match = lookalike.in_plain(text, flow=bool(frame and frame.flow))
        if match:
            char = match[0][-1]
            mark = event.start_mark
            index = mark.column + match.end() - 1
            if event.start_mark.line != event.end_mark.line:
                index = mark.column
            message = f"{lookalike.explain(char)}, or quote the whole text if it is meant"
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


def _report_tabs(document: Document, text: str) -> None:
    """Report tabs that are neither in a text nor in a comment nor at the end of a line."""
    spans = []
    parser = _OPEN_PARSER(text)
    try:
        while parser.check_event():
            event: Any = parser.get_event()
            if type(event) is yaml.ScalarEvent:
                spans.append((event.start_mark.index, event.end_mark.index))
    except yaml.YAMLError:
        return
    finally:
        parser.dispose()
    following = 0
    last_end = 0
    told = -1
    for match in re.finditer("\t", text):
        at = match.start()
        while following < len(spans) and spans[following][0] <= at:
            last_end = max(last_end, spans[following][1])
            following += 1
        if at < last_end:
            continue
        begin = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        rest = text[at : end if end >= 0 else len(text)]
        line = text.count("\n", 0, at)
        if line == told or not rest.strip() or "#" in text[max(begin, last_end) : at] or rest.strip().startswith("#"):
            continue
        told = line
        document.faulty.append(("",))
        document.report_at(line, at - begin, (), "a tab, YAML is indented with spaces only: replace it")
