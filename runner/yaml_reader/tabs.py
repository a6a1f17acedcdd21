"""Find tabs that not all YAML readers accept."""

from __future__ import annotations

import re
from typing import Any

import yaml

from runner.model.message import Message, advise
from runner.yaml_reader.document import Document
from runner.yaml_reader.parser import OPEN_PARSER


def report_tabs(document: Document, text: str) -> None:
    """Report tabs, except those in texts, in comments, and at the end of a line."""
    spans: list[tuple[int, int]] = []
    parser = OPEN_PARSER(text)
    try:
        while parser.check_event():
            event = parser.get_event()
            if type(event) is yaml.ScalarEvent:
                start, end = _span(event)
                spans.append((start, end))
    except yaml.YAMLError:
        return
    finally:
        parser.dispose()
    following = 0
    last_end = 0
    begin = 0
    for number, line in enumerate(text.splitlines(keepends=True)):
        for match in re.finditer("\t", line):
            at = begin + match.start()
            while following < len(spans) and spans[following][0] <= at:
                last_end = max(last_end, spans[following][1])
                following += 1
            rest = line[match.start() :].strip()
            if at < last_end:
                continue
            if rest and not rest.startswith("#") and "#" not in text[max(begin, last_end) : at]:
                document.faulty.append(("",))
                _report(document, text, number, match.start())
            break  # one problem per line is enough
        begin += len(line)


def tab_message(line: str, index: int) -> Message:
    """Return the message for a tab at ``index``."""
    if not line[:index].strip():
        return advise("YAML does not allow tabs as indentation", "indent with spaces")
    return advise("YAML does not allow a tab here", "write a space")


def _report(document: Document, text: str, row: int, index: int) -> None:
    from runner.yaml_reader.corrected_line import correct, with_spaces  # start-up time: most files have no tabs

    lines = text.splitlines()
    corrected = correct(lines, row, with_spaces(lines, row, index))
    document.report_at(row, index, (), tab_message(lines[row], index), corrected=corrected)


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index
