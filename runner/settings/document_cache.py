"""Cache the values of ``runner.yaml``, so that the next command need not import the YAML parser.

Like the cache of the jobs, it is a convenience. A file that is not private to this user, or was made from other
content or by other code, counts as absent, and a failure to write it is silent.
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
    """The cached documents in one state folder, a file each.

    Args:
        state_dir: the state folder that the project has unless ``runner.yaml`` names another. Nothing is cached until
            the cache of the jobs has made the folder ``cache`` in it.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._parsed: list[tuple[Document, bytes]] = []

    def read(self, data: bytes, name: str, size: int) -> Document:
        """Return the document named ``name``: its cached values, or as :func:`read_bytes` reads ``data``."""
        document = self._load(name, data)
        if document is None:
            document = read_bytes(data, name, size)
            self._parsed.append((document, data))
        return document

    def save(self) -> None:
        """Keep the documents that had to be parsed and have no problems. Never raises."""
        for document, data in self._parsed:
            with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
                content = json.dumps(document.value, allow_nan=False, separators=(",", ":")).encode()
                # A key that is a number would come back as a text.
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
            # A problem that is found later stands at a line, which is looked up in the text.
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
