"""Read YAML strictly: only values of JSON, and all problems at once, with line and column.

The reader uses the events of PyYAML's parser (of libyaml, if PyYAML was compiled with it). So it never constructs
values that JSON does not have, and it goes on after a problem wherever the text still has a single meaning.
:class:`Document` has the value, the problems, and the positions.
"""

from __future__ import annotations

import re

from runner.model.message import advise
from runner.yaml_reader.document import Document, source_of

__all__ = ["MAX_BYTES", "Document", "read_bytes", "read_text", "source_of"]

MAX_BYTES = 1024 * 1024

# The set of characters that YAML allows is larger, and would take 3 ms to compile.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def read_bytes(data: bytes, file: str, size: int | None = None) -> Document:
    """Read the content of a file. Never raises for invalid content.

    Args:
        data: the content, which may be truncated after ``MAX_BYTES``.
        file: the name of the file in messages.
        size: the size of the whole file, if ``data`` may be truncated.
    """
    if len(data) > MAX_BYTES:
        whole = max(len(data), size or 0)
        return Document(file).refuse(
            advise(f"is {whole:,} bytes long, at most 1 MiB is allowed", "split it into several files", "; ")
        )
    for mark, name in ((b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"), (b"\x00\x00\xfe\xff", "UTF-32")):
        if data.startswith(mark):
            return Document(file).refuse(advise(f"is encoded in {name}", "save it as UTF-8"))
    if b"\x00" in data[:4] and len(data) > 1:
        return Document(file).refuse(advise("looks like UTF-16 without a byte-order mark", "save it as UTF-8"))
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        document = Document(file, data.decode("utf-8", "replace").removeprefix("\ufeff"))
        line, index = _position_of(before, len(before))
        return document.refuse(
            advise(f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"), line, index
        )
    return read_text(text, file)


def read_text(text: str, file: str) -> Document:
    """Read a text like :func:`read_bytes`."""
    document = Document(file, text)
    match = _FORBIDDEN.search(text)
    if match:
        line, index = _position_of(text, match.start())
        char = ord(match[0])
        return document.refuse(
            advise(f"character U+{char:04X} is not allowed", f"remove it or write \\u{char:04x} in quotes"), line, index
        )
    from runner.yaml_reader.parsing import parse  # start-up time: most commands find the values in a cache

    parse(document, text)
    return document


def _position_of(text: str, at: int) -> tuple[int, int]:
    lines = (text[:at] + ".").splitlines()
    return len(lines) - 1, len(lines[-1]) - 1
