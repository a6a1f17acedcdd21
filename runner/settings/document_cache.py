"""Cache the values of ``runner.yaml``, so that the next command need not import the YAML parser.

Like the cache of the jobs, this is only an optimization. A cache file that is not private to this user, or that was
made from other content or by other code, is ignored, and failing to write one is not an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from pathlib import Path

from runner._version import __version__
from runner.host.code import code_signature
from runner.host.state import is_private, read_private, replace_private
from runner.yaml_reader.document import Document
from runner.yaml_reader.reader import read_bytes

_FORMAT = 1


class DocumentCache:
    """The cached documents in a state folder, one file each.

    Args:
        state_dir: the default state folder of the project. Nothing is cached until the cache of the jobs has created
            the folder ``cache`` in it.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._parsed: list[tuple[Document, bytes]] = []

    def read(self, data: bytes, name: str, size: int) -> Document:
        """Return the document ``name`` with cached values, or as :func:`read_bytes` reads it from ``data``."""
        document = self._load(name, data)
        if document is None:
            document = read_bytes(data, name, size)
            self._parsed.append((document, data))
        return document

    def save(self) -> None:
        """Cache the documents that were parsed and have no problems. Never raises."""
        for document, data in self._parsed:
            with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
                content = json.dumps(document.value, allow_nan=False, separators=(",", ":")).encode()
                # A key that is a number would be text in JSON.
                is_same = json.loads(content) == document.value
                if is_same and not document.problems and self._is_trusted():
                    replace_private(self._path(document.file), _header(data, content) + b"\n" + content)

    def _load(self, name: str, data: bytes) -> Document | None:
        try:
            if not self._is_trusted():
                return None
            header, _, content = read_private(self._path(name)).partition(b"\n")
            if header != _header(data, content):
                return None
            # The text is needed for the positions of problems that are found later.
            document = Document(name, data.decode().removeprefix("\ufeff"))
            document.value = json.loads(content)
        except (OSError, ValueError, RecursionError):
            return None
        return document

    def _path(self, name: str) -> Path:
        return self.state_dir / "cache" / f"{name}.json"

    def _is_trusted(self) -> bool:
        folders = (os.lstat(self.state_dir), os.lstat(self.state_dir / "cache"))
        return all(is_private(status) and stat.S_ISDIR(status.st_mode) for status in folders)


def _header(data: bytes, content: bytes) -> bytes:
    basis = json.dumps([_FORMAT, __version__, code_signature("yaml_reader", "settings")]).encode()
    return hashlib.blake2b(b"\0".join((basis, hashlib.blake2b(data).digest(), content))).hexdigest().encode()
