"""Parse the text of a file into a :class:`~runner.yaml_reader.document.Document`."""

from __future__ import annotations

import yaml

from runner.yaml_reader.builder import Builder, Stop
from runner.yaml_reader.document import Document
from runner.yaml_reader.parser import OPEN_PARSER
from runner.yaml_reader.tabs import report_tabs


def parse(document: Document, text: str) -> None:
    """Set the value and the problems of ``document`` from ``text``."""
    parser = OPEN_PARSER(text)
    try:
        Builder(document, parser).build()
    except Stop as stop:
        document.refuse(stop.message, stop.mark.line, stop.mark.column)
    except yaml.YAMLError as error:
        from runner.yaml_reader.syntax import explain  # start-up time: most files have no syntax error

        fault = explain(error, text)
        document.refuse(fault.message, fault.line, fault.index, fault.corrected)
    finally:
        parser.dispose()
    if "\t" in text and document.readable:
        report_tabs(document, text)
