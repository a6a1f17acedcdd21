"""A minimal client of yaml-language-server for tests: LSP over stdin and stdout."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.support.need import need

INSTALLED = Path(sys.prefix) / "node" / "node_modules" / ".bin" / "yaml-language-server"
PATIENCE = 60.0
NO_EDITOR = "yaml-language-server could not be installed here"


def language_server() -> str:
    """Return the path of the server that ``make editor`` installs, or of one on PATH; otherwise skip the test.

    CI sets ``RUNNER_TEST_NO_EDITOR=1`` if it cannot reach the npm registry.
    """
    if INSTALLED.exists():
        need("node")
        return str(INSTALLED)
    if os.environ.get("RUNNER_TEST_NO_EDITOR"):
        pytest.skip(NO_EDITOR)
    return need("yaml-language-server")


class Editor:
    """An editor with files of one project open."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._number = 0
        self._files = 0
        self._diagnostics: dict[str, list[dict[str, Any]]] = {}
        self._process = subprocess.Popen(
            [language_server(), "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        completion = {"completionItem": {"documentationFormat": ["markdown"], "snippetSupport": True}}
        self._request(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": self.project.as_uri(),
                "capabilities": {"textDocument": {"completion": completion}, "workspace": {"configuration": True}},
            },
        )
        self._send({"method": "initialized", "params": {}})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def problems(self, text: str) -> list[tuple[int, int, str]]:
        """Return the problems in a jobs file: line and column, from 1, and the message."""
        uri = self._open(text)
        end = time.monotonic() + PATIENCE
        while uri not in self._diagnostics:
            self._handle(self._next(end))
        found = self._diagnostics[uri]
        starts = [diagnostic["range"]["start"] for diagnostic in found]
        return [
            (start["line"], start["character"] + 1, diagnostic["message"])
            for start, diagnostic in zip(starts, found, strict=True)
        ]

    def completions(self, text: str) -> dict[str, str]:
        """Return the completions at the end of ``text``: labels and their help."""
        answer = self._request("textDocument/completion", self._at_end(text))
        items = answer["items"] if isinstance(answer, dict) else answer
        return {item["label"]: _words(item.get("documentation")) for item in items}

    def hover(self, text: str, word: str) -> str:
        """Return the hover text for a word of ``text``."""
        before = text[: text.index(word) + 1].split("\n")
        position = {"line": len(before), "character": len(before[-1])}
        document = {"uri": self._open(text)}
        answer = self._request("textDocument/hover", {"textDocument": document, "position": position})
        return _words(answer["contents"]) if answer else ""

    def _at_end(self, text: str) -> dict[str, Any]:
        before = text.split("\n")
        position = {"line": len(before), "character": len(before[-1])}
        return {"textDocument": {"uri": self._open(text)}, "position": position}

    def _open(self, text: str) -> str:
        self._files += 1
        uri = (self.project / "jobs.d" / f"open-{self._files}.yaml").as_uri()
        text = f"# yaml-language-server: $schema=../schema/jobs.schema.json\n{text}"
        item = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": item}})
        return uri

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _request(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        end = time.monotonic() + PATIENCE
        while True:
            message = self._next(end)
            if message.get("id") == self._number and "method" not in message:
                assert "error" not in message, message
                return message["result"]
            self._handle(message)

    def _next(self, end: float) -> dict[str, Any]:
        message = self._messages.get(timeout=max(0.01, end - time.monotonic()))
        assert message is not None, f"the server ended with {self._process.wait()}"
        return message

    def _handle(self, message: dict[str, Any]) -> None:
        if "id" in message:
            # Use no schema catalog from the network, and no user settings.
            settings = {"validate": True, "completion": True, "hover": True, "schemaStore": {"enable": False}}
            asked = message.get("method") == "workspace/configuration"
            result = [settings for _ in message["params"]["items"]] if asked else None
            self._send({"id": message["id"], "result": result})
        elif message.get("method") == "textDocument/publishDiagnostics":
            self._diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while line := stream.readline():
            length = 0
            while line not in (b"\r\n", b""):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
                line = stream.readline()
            if length:
                self._messages.put(json.loads(stream.read(length)))
        self._messages.put(None)


def _words(value: Any) -> str:
    """Return documentation as plain text, from any of its formats."""
    if isinstance(value, dict):
        value = value.get("value", "")
    return "" if value is None else str(value).replace("\\", "")
