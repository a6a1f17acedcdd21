"""The log of a flow: the lines of its step runs in order of time, including those of subflows."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.ledger.reach import reaching
from runner.ledger.reading import get_run, read_runs
from runner.ledger.run_log import LOOK_SECONDS, RunLog, follow_to_end
from runner.ledger.search import search
from runner.ledger.store import Store
from runner.model.log_line import LogLine, Source, interleave
from runner.model.run import FINAL, Run, State, to_datetime
from runner.model.run_query import RunQuery
from runner.model.run_time import first_start
from runner.model.step_run import step_name

_READ_AT_ONCE = 200
_WATCHED = 500
"""The maximum number of logs to wait for at once; the others are polled at the same rate."""

BEGUN = (State.STARTED, State.RETRY, State.SUCCESS, State.FAILURE, State.REVOKED)
"""The states in which a step run may have written something."""


def everything(name: str) -> bool:  # noqa: ARG001
    """Return True for every step."""
    return True


@dataclass(slots=True)
class _Source:
    """The log of a step run."""

    name: str
    log: RunLog
    run_id: str
    begin: float
    """The time of its first start (Unix ms)."""
    ended: bool

    def lines(self) -> Iterator[LogLine]:
        """Yield the new lines with their steps."""
        for line in self.log.lines():
            yield replace(line, step=self.name, run=self.run_id)


class FlowLog:
    """The log of one flow.

    Every method raises :class:`~runner.errors.Unavailable` if Redis does not answer within a timeout.
    """

    def __init__(self, store: Store, flow_id: str, wanted: Callable[[str], bool] = everything) -> None:
        """Open the log of a flow. ``wanted`` decides about the names of step runs, such as ``load[3]``."""
        self._store = store
        self._flow_id = flow_id
        self._wanted = wanted
        self._flows: dict[str, str] = {flow_id: ""}
        """The prefix of the step names of each flow, by flow id."""
        self._seen: dict[str, set[int]] = {}
        """The ordinals of the step runs whose logs are open, by flow id."""
        self._open: dict[str, _Source] = {}
        """The sources by the id of the step run."""

    def lines(self) -> Iterator[LogLine]:
        """Yield the lines that were recorded since the last call, in order of time."""
        self._discover()
        ready = list(self._open.values())
        yield from interleave([Source(source.begin, source.lines) for source in ready])
        self._close(ready)

    def follow(self) -> Iterator[LogLine]:
        """Yield recorded lines and then new ones until the flow has ended. Reconnects after a lost connection.

        Raises:
            UnknownRun: the flow is not or no longer known.
            Unavailable: Redis cannot be reached at the beginning.
        """
        return follow_to_end(self._follow_on)

    def _follow_on(self) -> Generator[LogLine, None, bool]:
        # Read the state first: all lines of the step runs are recorded before the flow ends.
        final = get_run(self._store, self._flow_id).final
        yield from self.lines()
        if not final:
            self._wait()
        return final

    def _wait(self) -> None:
        """Wait until a step run writes something, but not longer than until others may have started."""
        keys = {self._store.keys.log(source.run_id): source.log.last for source in list(self._open.values())[:_WATCHED]}
        if not keys:
            time.sleep(LOOK_SECONDS)
            return
        with reaching(self._store.settings):
            self._store.client.xread(keys, count=1, block=int(LOOK_SECONDS * 1000))  # type: ignore[arg-type]

    def _close(self, sources: Sequence[_Source]) -> None:
        for source in sources:
            if source.ended:
                self._open.pop(source.run_id, None)

    def _discover(self) -> None:
        """Open the logs of the step runs that have started since the last call, and record which of them have ended."""
        looked: set[str] = set()
        while left := [flow for flow in self._flows if flow not in looked]:
            for flow in left:
                looked.add(flow)
                self._discover_in(flow)

    def _discover_in(self, flow: str) -> None:
        keys = self._store.keys
        with reaching(self._store.settings), self._store.client.pipeline(transaction=False) as pipe:
            pipe.lrange(keys.flow_runs(flow), 0, -1)
            for state in BEGUN:
                pipe.get(keys.flow_states(flow, state))
            ids, *bitmaps = pipe.execute()
        seen = self._seen.setdefault(flow, set())
        by_state = {state: set(_bits(bitmap)) for state, bitmap in zip(BEGUN, bitmaps, strict=True)}
        for state, ordinals in by_state.items():
            for ordinal in ordinals & seen:
                source = self._open.get(ids[ordinal]) if ordinal < len(ids) else None
                if source is not None and state in FINAL:
                    source.ended = True
        new = sorted(ordinal for ordinal in set().union(*by_state.values()) - seen if ordinal < len(ids))
        for first in range(0, len(new), _READ_AT_ONCE):
            portion = new[first : first + _READ_AT_ONCE]
            for run in read_runs(self._store, [ids[ordinal] for ordinal in portion]):
                self._take(flow, run)
            seen.update(portion)

    def _take(self, flow: str, run: Run) -> None:
        name = self._flows[flow] + step_name(run.step or "?", run.item)
        if run.steps is not None:
            self._flows[run.id] = f"{name}/"
        elif run.attempts and self._wanted(name):
            log = RunLog(self._store, run.id)
            self._open[run.id] = _Source(name, log, run.id, begin_of(run), run.final)


def last_lines(store: Store, run: Run, count: int) -> list[LogLine]:
    """Return the last lines of a run; for a flow, those of its first failed step run.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    if run.steps is None:
        return RunLog(store, run.id).tail(count)
    if not any(step["state"] == State.FAILURE for step in run.steps):
        return []
    found = search(store, RunQuery(flow=run.id, state=[State.FAILURE], sort="oldest"), limit=1).runs
    return [below(run, line) for run in found for line in last_lines(store, run, count)]


def below(run: Run, line: LogLine) -> LogLine:
    """Return a line of a step run (or of its subflow) in the form that the flow shows."""
    name = step_name(run.step or "?", run.item)
    return replace(line, step=f"{name}/{line.step}" if line.step else name, run=line.run or run.id)


def begin_of(run: Run) -> float:
    """Return the time of the first start of a run (Unix ms)."""
    first = first_start(run)
    return to_datetime(first).timestamp() * 1000 if first is not None else 0.0


def _bits(bitmap: Any) -> Iterator[int]:
    """Yield the positions of the set bits, as Redis counts them, in a text whose characters are bytes."""
    held = bitmap if isinstance(bitmap, bytes) else (bitmap or "").encode("utf-8", "surrogateescape")
    for index, byte in enumerate(held):
        for bit in range(8):
            if byte & (0x80 >> bit):
                yield index * 8 + bit
