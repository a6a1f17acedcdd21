"""Tabs where YAML's readers disagree on them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from runner.spec.document import OPEN_PARSER, Document


def report_tabs(document: Document, text: str) -> None:
    """Report tabs that are neither in a text nor in a comment nor at the end of a line."""
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


def _span(event: Any) -> tuple[int, int]:
    return event.start_mark.index, event.end_mark.index
