"""The texts of rows in the forms of ``-o`` that are neither a table nor JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from runner.cli.terminal.listing import Listing, ListOptions
from runner.cli.terminal.output import is_utf8
from runner.model.printable import printable

T = TypeVar("T")


def texts(options: ListOptions, listing: Listing[T], rows: Sequence[T]) -> list[str]:
    """Return the text of each row; rows without a name have none with ``-o name``."""
    if options.form == "name":
        return [name for row in rows if (name := listing.name(row))]
    if options.template is not None:
        return [options.template.fill(listing.document(row)) for row in rows]
    if options.form == "csv":
        read, names = listing.record or listing.document, _csv_names(listing)
        return [csv_line([record.get(name) for name in names]) for record in map(read, rows)]
    return [yaml_text(listing.document(row)) for row in rows]


def text_heading(options: ListOptions, listing: Listing[T]) -> list[str]:
    """Return the line that comes before the rows, if the form has one."""
    return [csv_line(_csv_names(listing))] if options.form == "csv" else []


def _csv_names(listing: Listing[T]) -> Sequence[str]:
    return listing.record_fields or list(listing.fields)


def csv_line(values: Sequence[object]) -> str:
    """Return a line of comma-separated values. A text that a spreadsheet would compute begins with ``'``."""
    written = io.StringIO()
    # What ends a line is what the writer quotes: a field may have several.
    csv.writer(written, lineterminator="\r\n").writerow([_harmless(_csv_text(value)) for value in values])
    return written.getvalue().removesuffix("\r\n")


def _csv_text(value: object) -> str:
    if isinstance(value, dict | list | bool):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _harmless(text: str) -> str:
    # A spreadsheet would compute what begins like this, and a submitter chooses the text.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def yaml_text(document: Mapping[str, Any]) -> str:
    """Return a document as the item of a YAML list, harmless for a terminal."""
    import yaml  # start-up time: few lists are YAML

    # Enumerations become texts.
    item = [json.loads(json.dumps(document))]
    if is_utf8(sys.stdout):
        text: str = yaml.safe_dump(item, sort_keys=False, allow_unicode=True, width=100)
        if printable(text) == text:
            return text.rstrip("\n")
    return str(yaml.safe_dump(item, sort_keys=False, width=100)).rstrip("\n")
