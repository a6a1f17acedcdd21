"""One taker's place on the board: memory that it shares with its worker's parent.

A taker writes what it holds before it acts, so that its parent can renew, end, or give back from the first moment,
however the taker dies. There is one writer for each part: a slot is its taker's, and the head is the parent's. A reader
looks at a counter before and after, and reads anew if the writer was at work.
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
"""How often a parent checks the board while a taker is not idle. It is notified of anything that is due sooner."""

SLOT_BYTES = 512
HEAD_BYTES = 256 * 1024
LONGEST_QUEUES = HEAD_BYTES - 256
"""Bytes of the names of the queues that a worker takes from, as JSON."""

_HEAD = struct.Struct("=IBBxxd")
"""Counter, whether the worker drains, whether it sends events, when its parent was last alive (monotonic)."""
_KNOWN = struct.Struct("=71s")
_LENGTH = struct.Struct("=I")
_COUNTER = struct.Struct("=I")
_STATE = struct.Struct("=BxxxIddd32s32s128s64s")
_KNOWN_AT, _QUEUES_AT = 32, 128
_TRIES = 1000
_WRITING_SECONDS = 0.001
"""Between two looks at what is being written, after as many tries."""


class TakerState(IntEnum):
    """The state of a taker."""

    FREE = 0
    """Nobody has this place."""
    STARTING = 1
    IDLE = 2
    """It waits to be woken."""
    ASKING = 3
    """It may have got a run under ``asked``, without knowing it yet."""
    RUNNING = 4
    PASSING = 5
    """It has left a run to the next taker in this place, which asks again with ``asked``."""


class Shown(NamedTuple):
    """The content of a slot. Times are those of ``time.monotonic``, 0 for none."""

    state: TakerState
    pid: int
    started: float
    soft: float
    hard: float
    held: str
    """The token of the run that is performed, or whose outcome is about to be written."""
    asked: str
    """The token of the next one."""
    run_id: str
    job: str


NOTHING = Shown(TakerState.FREE, 0, 0.0, 0.0, 0.0, "", "", "", "")


class Head:
    """The values that a worker tells all of its takers."""

    def __init__(self, memory: mmap) -> None:
        self._memory = memory
        self._writing = threading.Lock()
        """Held by a thread of the parent while it writes: two at once would leave the counter odd."""

    @property
    def version(self) -> int:
        """Changes with all that is written here but the sign of life."""
        return int(_COUNTER.unpack_from(self._memory, 0)[0])

    @property
    def draining(self) -> bool:
        """Whether the worker stops."""
        return bool(self._memory[4])

    @property
    def sends_events(self) -> bool:
        """Whether Celery's events are asked for."""
        return bool(self._memory[5])

    @property
    def silence(self) -> float:
        """Seconds since the parent was last seen alive."""
        return time.monotonic() - float(_HEAD.unpack_from(self._memory, 0)[3])

    def live(self) -> None:
        """Say that the parent lives."""
        struct.pack_into("=d", self._memory, 8, time.monotonic())

    def write(self, *, draining: bool | None = None, sends_events: bool | None = None) -> None:
        """Change what is given."""
        if draining is not None:
            self._memory[4] = draining
        if sends_events is not None:
            self._memory[5] = sends_events

    def write_queues(self, queues: Sequence[str], known: str) -> None:
        """Say which queues are taken from, and the digest of the worker's jobs.

        Raises:
            ValueError: the names are longer than there is room for.
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
        """Return the version of what follows, the queues, and the digest. While the parent writes, wait for it."""
        # However long that takes: under load the parent may lose its processor, or its GIL, in the midst of it. If it
        # dies there, its takers die with it.
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
    """The place of one taker. Only that taker writes, or its parent once it is dead."""

    def __init__(self, memory: mmap, index: int) -> None:
        self.index = index
        self._memory = memory
        self._at = HEAD_BYTES + index * SLOT_BYTES
        self._counter = int(_COUNTER.unpack_from(memory, self._at)[0])
        self.shown = NOTHING

    @property
    def dismissed(self) -> bool:
        """Whether the parent has no use for this taker any more. It alone writes this."""
        return bool(self._memory[self._at + SLOT_BYTES - 1])

    def dismiss(self, dismissed: bool) -> None:
        """Ask the taker to leave after its run, or take that back before another one gets the place."""
        self._memory[self._at + SLOT_BYTES - 1] = dismissed

    @property
    def ending(self) -> bool:
        """Whether the parent ends this process because of the run that it performs. It alone writes this."""
        return bool(self._memory[self._at + SLOT_BYTES - 2])

    def end(self, ending: bool) -> None:
        """Stop the taker from asking for more before its process is ended, since its run may end first."""
        self._memory[self._at + SLOT_BYTES - 2] = ending

    @property
    def state(self) -> int:
        """The taker's state as a number; cheaper than :meth:`read`."""
        return self._memory[self._at + _COUNTER.size]

    @property
    def version(self) -> int:
        """Changes by two with each state that the taker shows."""
        return int(_COUNTER.unpack_from(self._memory, self._at)[0])

    def show(self, shown: Shown) -> None:
        """Write what the taker does."""
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
        texts = (each.rstrip(b"\0").decode("ascii", "replace") for each in (held, asked, run_id, job))
        try:
            return Shown(TakerState(state), *numbers, *texts)
        except ValueError:
            return NOTHING
