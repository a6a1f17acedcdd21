"""Records refused tokens in the log of this server and in the audit log."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

from runner.errors import Unavailable
from runner.ledger.audit import FAILED_LOGIN, note_failed_login

if TYPE_CHECKING:
    from runner.actions.project import Project

MOST_WAITING = 1000
"""Refused tokens that wait to be written to the audit log; more of them are only in the server's log."""

_log = logging.getLogger("runner.web")


class Journal:
    """Records refused tokens."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._waiting: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._mutex = threading.Lock()
        self._writer: threading.Thread | None = None

    def failed(self, address: str) -> None:
        """Record that a token from ``address`` was refused. Returns at once, even while Redis is away."""
        _log.warning("%s: a token from %r was refused", FAILED_LOGIN, address)
        try:
            self._waiting.put_nowait(address)
        except queue.Full:
            return
        with self._mutex:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="runner-audit", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        while True:
            address = self._waiting.get()
            try:
                note_failed_login(self._project.ledger, address)
            except Unavailable:
                continue  # it is in the log of this server
            except Exception:  # noqa: BLE001 - the tokens after it must still be recorded
                _log.exception("a refused token cannot be written to the audit log")
