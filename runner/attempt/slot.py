"""One taker's slot on the board: memory that it shares with its worker's parent.

A taker writes its claims before it acts, so that its parent can renew, end, or hand back from the first moment, however
the taker dies. Each part has one writer: the taker for its slot, and the parent for the head. A reader compares a
counter before and after reading, and reads again if it has changed.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from collections.abc import Sequence
from enum import IntEnum
from mmap import mmap
from typing import NamedTuple

LOOK_SECONDS = 0.5
"""Seconds between two checks of the board while a taker is busy. The parent is notified of earlier events."""

SLOT_BYTES = 512
HEAD_BYTES = 256 * 1024
LONGEST_QUEUES = HEAD_BYTES - 256
"""The maximum size of the names of the consumed queues as JSON (bytes)."""

_HEAD = struct.Struct("=IBBxxd")
"""The counter, whether the worker drains, whether it sends events, and its parent's last sign of life (monotonic)."""
_KNOWN = struct.Struct("=71s")
_LENGTH = struct.Struct("=I")
_COUNTER = struct.Struct("=I")
_STATE = struct.Struct("=BxxxIddd32s32s128s64s")
_KNOWN_AT, _QUEUES_AT = 32, 128
_TRIES = 1000
_WRITING_SECONDS = 0.001
"""Seconds between two tries to read a part that is being written, after this number of tries."""


class TakerState(IntEnum):
    """The state of a taker."""

    FREE = 0
    """The slot is free."""
    STARTING = 1
    IDLE = 2
    """The taker waits to be woken."""
    ASKING = 3
    """It may have been granted a run under ``asked`` without knowing it yet."""
    RUNNING = 4
    PASSING = 5
    """It has left a run to the next taker in this slot, which asks again with ``asked``."""


class Shown(NamedTuple):
    """The content of a slot. Times are those of ``time.monotonic``, 0 for none."""

    state: TakerState
    pid: int
    started: float
    soft: float
    hard: float
    held: str
    """The token of the active run, or of the run whose outcome is about to be written."""
    asked: str
    """The token of the next run."""
    run_id: str
    job: str


NOTHING = Shown(TakerState.FREE, 0, 0.0, 0.0, 0.0, "", "", "", "")


class Head:
    """The values that a worker publishes for all of its takers."""

    def __init__(self, memory: mmap) -> None:
        self._memory = memory
        self._writing = threading.Lock()
        """Held by a thread of the parent while it writes: two writers at once would leave the counter odd."""

    @property
    def version(self) -> int:
        """Return a number that changes with every value except the sign of life."""
        return int(_COUNTER.unpack_from(self._memory, 0)[0])

    @property
    def draining(self) -> bool:
        """Return whether the worker is stopping."""
        return bool(self._memory[4])

    @property
    def sends_events(self) -> bool:
        """Return whether Celery's events are enabled."""
        return bool(self._memory[5])

    @property
    def silence(self) -> float:
        """Return the seconds since the parent's last sign of life."""
        return time.monotonic() - float(_HEAD.unpack_from(self._memory, 0)[3])

    def live(self) -> None:
        """Write a sign of life of the parent."""
        struct.pack_into("=d", self._memory, 8, time.monotonic())

    def write(self, *, draining: bool | None = None, sends_events: bool | None = None) -> None:
        """Write the given values."""
        if draining is not None:
            self._memory[4] = draining
        if sends_events is not None:
            self._memory[5] = sends_events

    def write_queues(self, queues: Sequence[str], known: str) -> None:
        """Write the consumed queues and the digest of the worker's jobs.

        Raises:
            ValueError: the names do not fit.
        """
        text = json.dumps(list(queues)).encode()
        if len(text) > LONGEST_QUEUES:
            raise ValueError(f"the names of {len(queues)} queues take more than {LONGEST_QUEUES} bytes")
        with self._writing:
            version = self.version
            _COUNTER.pack_into(self._memory, 0, (version + 1) & 0xFFFFFFFF)
            _KNOWN.pack_into(self._memory, _KNOWN_AT, known.encode())
            _LENGTH.pack_into(self._memory, _QUEUES_AT, len(text))
            start = _QUEUES_AT + _LENGTH.size
            self._memory[start : start + len(text)] = text
            _COUNTER.pack_into(self._memory, 0, (version + 2) & 0xFFFFFFFF)

    def read_queues(self) -> tuple[int, list[str], str]:
        """Return the version, the queues, and the digest, waiting while the parent writes them."""
        # However long that takes: under load, the parent may lose the processor or the GIL while it writes. If it dies
        # there, its takers die with it.
        tries = 0
        while True:
            version = self.version
            (length,) = _LENGTH.unpack_from(self._memory, _QUEUES_AT)
            start = _QUEUES_AT + _LENGTH.size
            text = bytes(self._memory[start : start + min(length, LONGEST_QUEUES)])
            (known,) = _KNOWN.unpack_from(self._memory, _KNOWN_AT)
            if version % 2 == 0 and self.version == version:
                return version, json.loads(text), known.rstrip(b"\0").decode()
            tries += 1
            time.sleep(0.0 if tries < _TRIES else _WRITING_SECONDS)


class Slot:
    """The slot of one taker. Only the taker writes to it, or its parent after its death."""

    def __init__(self, memory: mmap, index: int) -> None:
        self.index = index
        self._memory = memory
        self._at = HEAD_BYTES + index * SLOT_BYTES
        self._counter = int(_COUNTER.unpack_from(memory, self._at)[0])
        self.shown = NOTHING

    @property
    def dismissed(self) -> bool:
        """Return whether the parent no longer needs this taker. Only the parent writes this."""
        return bool(self._memory[self._at + SLOT_BYTES - 1])

    def dismiss(self, dismissed: bool) -> None:
        """Ask the taker to exit after its run, or reset that before another taker gets the slot."""
        self._memory[self._at + SLOT_BYTES - 1] = dismissed

    @property
    def ending(self) -> bool:
        """Return whether the parent is ending this process because of its run. Only the parent writes this."""
        return bool(self._memory[self._at + SLOT_BYTES - 2])

    def end(self, ending: bool) -> None:
        """Stop the taker from requesting another run before its process is ended, because its run may end first."""
        self._memory[self._at + SLOT_BYTES - 2] = ending

    @property
    def state(self) -> int:
        """Return the taker's state as a number; cheaper than :meth:`read`."""
        return self._memory[self._at + _COUNTER.size]

    @property
    def version(self) -> int:
        """Return the counter, which grows by two with each change of the slot."""
        return int(_COUNTER.unpack_from(self._memory, self._at)[0])

    def show(self, shown: Shown) -> None:
        """Write the state of the taker."""
        memory, at = self._memory, self._at
        counter = self._counter
        _COUNTER.pack_into(memory, at, (counter + 1) & 0xFFFFFFFF)
        _STATE.pack_into(
            memory,
            at + 4,
            shown.state,
            shown.pid,
            shown.started,
            shown.soft,
            shown.hard,
            shown.held.encode(),
            shown.asked.encode(),
            shown.run_id.encode(),
            shown.job.encode(),
        )
        self._counter = (counter + 2) & 0xFFFFFFFF
        _COUNTER.pack_into(memory, at, self._counter)
        self.shown = shown

    def read(self) -> Shown:
        """Return the current content. The part that a dying writer completed counts."""
        memory, at = self._memory, self._at
        for _ in range(_TRIES):
            (before,) = _COUNTER.unpack_from(memory, at)
            found = _STATE.unpack_from(memory, at + 4)
            if before % 2 == 0 and _COUNTER.unpack_from(memory, at)[0] == before:
                break
        self._counter = before + before % 2
        state, *numbers, held, asked, run_id, job = found
        texts = (field.rstrip(b"\0").decode("ascii", "replace") for field in (held, asked, run_id, job))
        try:
            return Shown(TakerState(state), *numbers, *texts)
        except ValueError:
            return NOTHING
