"""Follow the events of the ledger from any event on: every transition, in order, each once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from runner._dataclass import dataclass
from runner.errors import Unavailable, UsageError
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.ledger.watch import RECONNECT_PAUSES
from runner.model.run import to_timestamp

BEGINNING = "0-0"
"""The id before the oldest event that is kept."""

_BLOCK_MILLISECONDS = 2000
_PAGE = 500
_ID = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")


@dataclass(frozen=True, slots=True)
class Event:
    """A run changed to a state. ``at`` is Unix ms by Redis' clock; ``event`` is the id to continue after.

    ``flow``, ``step``, and ``item`` are set for step runs.
    """

    event: str
    at: int
    id: str
    job: str
    state: str
    reason: str | None
    attempt: int
    flow: str | None = None
    step: str | None = None
    item: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "event": self.event,
            "at": to_timestamp(self.at),
            "id": self.id,
            "job": self.job,
            "state": self.state,
            "reason": self.reason,
            "attempt": self.attempt,
            "flow": self.flow,
            "step": self.step,
            "item": self.item,
        }


@dataclass(frozen=True, slots=True)
class Gap:
    """Events after ``after`` are no longer kept, so some may be missing; the next one kept is ``before``."""

    after: str
    before: str


class Events:
    """Follows the stream of events; :attr:`last` is the id of the last event that was read.

    After a lost connection or a restart of Redis, it continues after the last event.
    """

    def __init__(self, store: Store, after: str | None = None) -> None:
        """Start after the event ``after``; None starts now.

        Raises:
            UsageError: ``after`` is not the id of an event.
            Unavailable: Redis cannot be reached.
        """
        self._store = store
        self._key = store.keys.events
        self._checked = False
        if after is None:
            self.last = self._newest()
        elif _ID.fullmatch(after):
            self.last = after if "-" in after else f"{after}-0"
        else:
            raise UsageError(
                f"{after!r} is not the id of an event", hint="give one that watch --jsonl showed, or 0 for all"
            )

    def follow(self, patience: float | None = None) -> Iterator[Event | Gap | None]:
        """Yield each event, and None after two seconds without one or after an outage of Redis.

        A :class:`Gap` means that more events occurred than are kept before this was called.

        Args:
            patience: how long to go on while Redis is unreachable (seconds); None: forever.

        Raises:
            Unavailable: Redis could not be reached for longer than ``patience``.
        """
        failures, lost_since = 0, 0.0
        while True:
            try:
                gap = None if self._checked else self._gap()
                found = self._read()
            except Unavailable:
                self._checked = False
                lost_since = lost_since or time.monotonic()
                if patience is not None and time.monotonic() - lost_since > patience:
                    raise
                time.sleep(RECONNECT_PAUSES[min(failures, len(RECONNECT_PAUSES) - 1)])
                failures += 1
                continue
            self._checked = True
            if gap is not None:
                yield gap
            if failures or not found:
                # The caller can check now what it missed in between.
                yield None
            failures, lost_since = 0, 0.0
            for event_id, fields in found:
                self.last = event_id
                yield _event(event_id, fields)
            # Events may be dropped before a slow reader has read them.
            self._checked = len(found) < _PAGE

    def page(self) -> list[Event | Gap]:
        """Return the next available events without waiting; an empty list if there are none.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        checked, self._checked = self._checked, False  # Redis may have lost events when it can be reached again
        gap = None if checked else self._gap()
        with reaching(self._store.settings):
            found: Any = self._store.client.xrange(self._key, min=f"({self.last}", count=_PAGE)
        page: list[Event | Gap] = [] if gap is None else [gap]
        page += [_event(event_id, fields) for event_id, fields in found]
        if found:
            self.last = found[-1][0]
        self._checked = len(found) < _PAGE
        return page

    def caught_up(self) -> bool:
        """Return whether there is no event after the last one that was read.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        return _order(self._newest()) <= _order(self.last)

    def _newest(self) -> str:
        with reaching(self._store.settings):
            found: Any = self._store.client.xrevrange(self._key, count=1)
        return str(found[0][0]) if found else BEGINNING

    def _gap(self) -> Gap | None:
        if self.last == BEGINNING:
            return None
        with reaching(self._store.settings):
            found: Any = self._store.client.xrange(self._key, count=1)
        if found and _order(found[0][0]) > _order(self.last):
            return Gap(self.last, str(found[0][0]))
        if not found or _order(self._newest()) < _order(self.last):
            # Redis has lost its data, and its events start again.
            gap, self.last = Gap(self.last, BEGINNING), BEGINNING
            return gap
        return None

    def _read(self) -> list[tuple[str, dict[str, str]]]:
        with reaching(self._store.settings):
            found: Any = self._store.client.xread({self._key: self.last}, count=_PAGE, block=_BLOCK_MILLISECONDS)
        return list(found[0][1]) if found else []


def _order(event_id: str) -> tuple[int, int]:
    at, _, number = event_id.partition("-")
    return int(at), int(number or 0)


def _event(event_id: str, fields: dict[str, str]) -> Event:
    attempt, item = fields.get("attempt", "0"), fields.get("item", "")
    return Event(
        event_id,
        _order(event_id)[0],
        fields.get("id", "?"),
        fields.get("job", "?"),
        fields.get("state", "?"),
        fields.get("reason") or None,
        int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
        fields.get("flow") or None,
        fields.get("step") or None,
        int(item) if item.isascii() and item.isdigit() else None,
    )
