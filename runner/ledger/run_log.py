"""The log of a run: the lines of its attempts in order, as far as they are kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from runner.errors import Unavailable
from runner.ledger.reach import reaching
from runner.ledger.reading import get_run
from runner.ledger.record import LATEST
from runner.ledger.store import Store
from runner.ledger.watch import RECONNECT_PAUSES
from runner.model.log_line import LogLine

PAGE = 100
"""The number of chunks per read."""

LOOK_SECONDS = 0.5
"""Seconds between checks whether the run has ended, while its log is followed."""


def follow_to_end(follow_on: Callable[[], Generator[LogLine, None, bool]]) -> Iterator[LogLine]:
    """Yield lines until ``follow_on``, which is called repeatedly, returns True. Reconnects after a lost connection.

    Raises:
        UnknownRun: the run is not or no longer known.
        Unavailable: Redis cannot be reached at the beginning.
    """
    reached, failures, final = False, 0, False
    while not final:
        try:
            final = yield from follow_on()
        except Unavailable:
            if not reached:
                raise
            time.sleep(RECONNECT_PAUSES[min(failures, len(RECONNECT_PAUSES) - 1)])
            failures += 1
        else:
            reached, failures = True, 0


class RunLog:
    """The log of one run. ``last`` is the id of the last chunk that was read.

    Every method raises :class:`~runner.errors.Unavailable` if Redis does not answer within a timeout.
    """

    def __init__(self, store: Store, run_id: str, *, after: str | None = None) -> None:
        """Open the log of ``run_id``, after the chunk ``after`` or from the beginning."""
        self._store = store
        self._run_id = run_id
        self._key = store.keys.log(run_id)
        self.last = after or "0-0"
        self._next: dict[int, int] | None = {} if after is None else None
        """The number of the next expected line by attempt; None if the last chunk has not been looked up yet."""

    def append(self, attempt: int, number: int, lines: bytes, dropped: list[str]) -> str:
        """Append a chunk of lines; return its id, or an empty string if the run is gone.

        A chunk that was appended before, but whose answer was lost, is replaced.

        Args:
            attempt: counted from 1.
            number: the number of the first line in its attempt, from 1.
            lines: JSON in UTF-8, a list of ``[Unix ms, level or null, text]``.
            dropped: ids of chunks to remove.
        """
        return str(self._store.script("log", self._run_id, attempt, number, lines, *dropped))

    def lines(self) -> Iterator[LogLine]:
        """Yield the lines that were recorded since the last call."""
        if self._next is None:
            with reaching(self._store.settings):
                before: Any = self._store.client.xrevrange(self._key, max=self.last, count=1)
            plain = ((fields, _lines(fields)) for _, fields in before)
            self._next = {int(fields["a"]): int(fields["n"]) + len(lines) for fields, lines in plain if lines}
        while True:
            with reaching(self._store.settings):
                found: Any = self._store.client.xrange(self._key, min=f"({self.last}", count=PAGE)
            for chunk_id, fields in found:
                self.last = chunk_id
                yield from self._read(fields)
            if len(found) < PAGE:
                return

    def follow(self) -> Iterator[LogLine]:
        """Yield recorded lines and then new ones until the run has ended. Reconnects after a lost connection.

        Raises:
            UnknownRun: the run is not or no longer known.
            Unavailable: Redis cannot be reached at the beginning.
        """
        return follow_to_end(self._follow_on)

    def _follow_on(self) -> Generator[LogLine, None, bool]:
        # Read the state first: all lines are recorded before the run ends.
        final = get_run(self._store, self._run_id).final
        yield from self.lines()
        deadline = time.monotonic() + LOOK_SECONDS
        while not final and (left := deadline - time.monotonic()) > 0:
            with reaching(self._store.settings):
                found: Any = self._store.client.xread({self._key: self.last}, block=max(1, int(left * 1000)))
            for chunk_id, fields in found[0][1] if found else ():
                self.last = chunk_id
                yield from self._read(fields)
        return final

    def tail(self, count: int) -> list[LogLine]:
        """Return the last ``count`` lines of the last attempt with output."""
        with reaching(self._store.settings):
            found: Any = self._store.client.xrevrange(self._key, count=min(count, PAGE))
        lines: list[LogLine] = []
        last = found[0][1].get("a") if found else None
        for _, fields in found:
            if fields.get("a") != last or len(lines) >= count:
                break
            lines = [*_lines(fields), *lines]
        return lines[-count:]

    def _read(self, fields: dict[str, str]) -> Iterator[LogLine]:
        return _new_lines(fields, self._next if self._next is not None else {})


def read_chunks(chunks: Iterable[dict[str, str]]) -> list[LogLine]:
    """Return the lines of chunks, oldest first, with a line for each gap of dropped lines."""
    known: dict[int, int] = {}
    return [line for fields in chunks for line in _new_lines(fields, known)]


def _new_lines(fields: dict[str, str], known: dict[int, int]) -> Iterator[LogLine]:
    """Yield the new lines of a chunk. ``known`` has the number of the next line by attempt."""
    lines = _lines(fields)
    if not lines:
        return
    attempt, number = int(fields["a"]), int(fields["n"])
    expected = known.get(attempt, 1)
    if number < expected:
        # The chunk was appended twice and has become longer.
        lines, number = lines[expected - number :], expected
    if number > expected and lines:
        gap = number - expected
        yield LogLine(lines[0].at, attempt, None, f"… {gap} lines are not kept …", cut=gap)
    known[attempt] = number + len(lines)
    yield from lines


def _lines(fields: dict[str, str]) -> list[LogLine]:
    """Return the lines of a chunk; an empty list if it has another form than the runner writes."""
    try:
        attempt, _ = int(fields["a"]), int(fields["n"])
        lines = [(at, level, text) for at, level, text in json.loads(fields["t"]) if 0 <= at <= LATEST]
    except (ValueError, TypeError, KeyError):
        return []
    return [LogLine(at, attempt, level, text) for at, level, text in lines]
