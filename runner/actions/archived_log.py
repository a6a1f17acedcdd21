"""Read the archived end of a run's log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from runner.ledger.flow_log import begin_of, everything
from runner.model.log_line import LogLine, Source, interleave
from runner.model.run import Run
from runner.model.step_run import step_name

if TYPE_CHECKING:
    from runner.actions.records import Records


class ArchivedLog:
    """The log of an archived run; for a flow, the lines of its step runs in order of time."""

    def __init__(self, records: Records, run: Run, wanted: Callable[[str], bool] = everything) -> None:
        """Read the log of ``run``; ``wanted`` decides about the names of a flow's step runs, such as ``load[3]``."""
        self._records = records
        self._run = run
        self._wanted = wanted

    def lines(self) -> Iterator[LogLine]:
        """Yield all lines."""
        if self._run.steps is None:
            yield from self._read(self._run.id)
        else:
            yield from interleave(self._sources(self._run, ""))

    def follow(self) -> Iterator[LogLine]:
        """Yield all lines, because the run has ended."""
        return self.lines()

    def _read(self, run_id: str) -> list[LogLine]:
        return self._records.ask(lambda reader: reader.log(run_id)) or []

    def _sources(self, flow: Run, before: str) -> list[Source]:
        found = []
        for run in self._records.ask(lambda reader: reader.step_runs(flow.id)) or []:
            name = before + step_name(run.step or "?", run.item)
            if run.steps is not None:
                found += self._sources(run, f"{name}/")
            elif run.attempts and self._wanted(name):
                found.append(Source(begin_of(run), partial(self._named, run.id, name)))
        return found

    def _named(self, run_id: str, name: str) -> Iterator[LogLine]:
        for line in self._read(run_id):
            yield replace(line, step=name, run=run_id)
