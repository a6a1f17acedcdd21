"""Settle the attempts of dead takers, in the parent and with the token of the attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from celery.utils.log import get_logger

from runner.attempt.slot import Shown, TakerState
from runner.attempt.state import SharedState
from runner.process.oom import OomKiller, counter_file
from runner.worker.endings import Endings
from runner.worker.outcomes import Cause, Ended, Outcomes
from runner.worker.settler import Settler
from runner.worker.template import Death

log = get_logger("runner.worker.supervision")


class DeadTakers:
    """Settles the attempts of the dead takers of one worker. The supervision calls it.

    Args:
        shared: the state of the worker.
        settler: does slow work in its own thread.
        endings: knows which attempts were ended on purpose.
        outcomes: settles attempts.
        on_settled: called after each settled attempt.
    """

    def __init__(
        self,
        shared: SharedState,
        settler: Settler,
        endings: Endings,
        outcomes: Outcomes,
        on_settled: Callable[[], None],
    ) -> None:
        self._claims, self._cgroups = shared.claims, shared.cgroups
        self._settler = settler
        self._endings = endings
        self._outcomes = outcomes
        self._on_settled = on_settled
        self._oom_killer = OomKiller(self._cgroups.events if self._cgroups else counter_file())

    def look(self) -> None:
        """Record the OOM kills so far, which cannot concern takers that die later."""
        self._oom_killer.look()

    def forget_idle(self, pid: int) -> None:
        """Release the resources of a dead taker that held no run."""
        if self._cgroups is not None:
            self._cgroups.remove(pid)

    def settle(self, shown: Shown, death: Death, *, expected: bool) -> None:
        """Settle the attempt of a dead taker.

        Args:
            shown: the content of its board slot.
            death: its exit status.
            expected: whether takers are leaving, so that the end of one without a run is not reported.
        """
        ended = self._endings.ended(shown.held)
        if ended is not None:
            shown = _as_it_was(shown, ended)
        elif death.signal_name == "SIGKILL":
            ended, death = self._explain(shown, death)
        tokens = [token for token in (shown.held, shown.asked) if token]
        if not tokens:
            if death.status and not expected:
                log.error("the process %s of a taker died (%s)", death.pid, death)
            return
        for token in tokens:
            # Renewed until it is settled, although it is no longer on the board.
            self._claims.take(token)

        def settle() -> None:
            try:
                self._outcomes.settle(shown, death, ended)
            finally:
                self.forget_idle(death.pid)
                # Even if that failed: if its lease were renewed forever, the run would stay STARTED forever.
                for token in tokens:
                    self._claims.forget(token)
            self._on_settled()

        self._settler.do(tokens, settle)

    def _explain(self, shown: Shown, death: Death) -> tuple[Ended | None, Death]:
        """Find the origin of a SIGKILL that this worker did not send."""
        if self._cgroups is not None and (peak := self._cgroups.exceeded(death.pid)) is not None:
            return Ended(Cause.OUT_OF_MEMORY, None, peak), death
        return None, replace(death, oom_killed=self._oom_killer.blame())


def _as_it_was(shown: Shown, ended: Ended) -> Shown:
    """Return the slot's content when the attempt was ended; the attempt may have finished meanwhile."""
    attempt = ended.attempt
    if attempt is None:
        return shown
    return shown._replace(
        state=TakerState.RUNNING,
        run_id=attempt.run_id,
        job=attempt.job,
        started=attempt.started,
        soft=attempt.soft,
        hard=attempt.hard,
    )
