"""Replace dead takers, and a dead template with its takers."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator

from celery.utils.log import get_logger

from runner.app.celery_types import JsonObject
from runner.attempt.slot import NOTHING, TakerState
from runner.process.group import kill_group
from runner.worker.dead_takers import DeadTakers
from runner.worker.takers import ProcessTakers
from runner.worker.template import Born, Death, Failed

log = get_logger("runner.worker.supervision")

MAKE_PAUSE = 1.0
"""Seconds until the next try after a taker could not be forked or died before its first request."""


class Succession:
    """Replaces the taker processes of one worker. Called by the supervision.

    Args:
        takers: the takers of the worker.
        dead: settles the attempts of dead takers.
        leaves: tells whether the worker takes no more runs, so that no taker is replaced.
        obey: handles a message of a taker.
    """

    def __init__(
        self,
        takers: ProcessTakers,
        dead: DeadTakers,
        leaves: Callable[[], bool],
        obey: Callable[[int, JsonObject], None],
    ) -> None:
        self._takers = takers
        self._board = takers.board
        self._dead = dead
        self._leaves = leaves
        self._obey = obey
        self._missing: dict[int, float] = {}
        """The slots without takers, with the times of the next fork."""
        self._template_at: float | None = None
        """The time of the next try to fork a template."""

    def due(self) -> Iterator[float]:
        """Yield the times of the next forks (``time.monotonic``)."""
        yield from self._missing.values()
        if self._template_at is not None:
            yield self._template_at

    def hear_template(self) -> None:
        """Handle messages of the template."""
        for event in self._takers.template.hear():
            if isinstance(event, Born):
                self._takers.born(event.index, event.pid)
            elif isinstance(event, Death):
                self._bury(event)
            elif isinstance(event, Failed):
                self._takers.forget(event.index)
                self._missing[event.index] = time.monotonic() + MAKE_PAUSE
            else:
                self._replace_template()

    def _bury(self, death: Death) -> None:
        """Settle the attempt of a dead taker, and replace the taker."""
        takers, slot = self._takers, self._board.slot(death.index)
        for message in takers.hear(death.index):
            self._obey(death.index, message)
        shown = slot.read()
        if not shown.held:
            self._dead.forget_idle(death.pid)
        wanted = not (self._leaves() or slot.dismissed)
        passes = shown.state is TakerState.PASSING and wanted
        takers.died(death.index)
        if not passes:
            self._dead.settle(shown, death, expected=self._leaves())
            self._board.writer(death.index).show(NOTHING)
        if wanted:
            # A taker that cannot even begin is not forked again without a pause.
            early = death.status and shown.state in (TakerState.FREE, TakerState.STARTING, TakerState.PASSING)
            if early:
                self._missing[death.index] = time.monotonic() + MAKE_PAUSE
            else:
                self._make(death.index)

    def _make(self, index: int) -> None:
        try:
            self._takers.make(index)
        except OSError as error:
            # Without a template, a new one is forked first, and then all missing takers.
            log.error("no taker can be made: %s", error)
            self._missing[index] = time.monotonic() + MAKE_PAUSE

    def make_missing(self, now: float) -> None:
        """Fork the missing takers and a missing template."""
        if self._leaves():
            for index in self._missing:
                # The former taker may have left a run.
                self._forget(index, 0)
            self._missing.clear()
            self._template_at = None
            return
        if self._template_at is not None:
            if now >= self._template_at:
                self._restart()
            return
        for index in [index for index, at in self._missing.items() if now >= at]:
            del self._missing[index]
            if index in self._takers.places and not self._board.slot(index).dismissed:
                self._make(index)

    def _replace_template(self) -> None:
        """Fork another template. The takers of the former one have died with it, or are killed now."""
        log.error("the process that takers are forked from has died, another one is made")
        pids = dict(self._takers.pids)
        for index in sorted(self._takers.places):
            pid = pids.get(index, 0)
            if pid:
                kill_group(pid, signal.SIGKILL, grace=0.0)
            self._forget(index, pid)
            self._takers.died(index)
        if not self._leaves():
            self._restart()

    def _restart(self) -> None:
        self._template_at = None
        self._missing.clear()
        try:
            self._takers.restart()
        except OSError as error:
            log.error("the process that takers are forked from cannot be made: %s", error)
            self._template_at = time.monotonic() + MAKE_PAUSE
            return
        for index in sorted(self._takers.places):
            self._make(index)

    def _forget(self, index: int, pid: int) -> None:
        shown = self._board.slot(index).read()
        if pid or shown.held or shown.asked:
            self._dead.settle(shown, Death(index, pid, signal.SIGKILL, 0), expected=self._leaves())
        self._board.writer(index).show(NOTHING)
