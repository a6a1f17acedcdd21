"""The process of a taker: forked from the template, which has imported the code of the jobs and has no threads."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any, NoReturn

from billiard.common import reset_signals
from billiard.pool import Worker
from celery import platforms, signals
from celery._state import _set_task_join_will_block, set_default_app
from celery.app import trace
from celery.concurrency.prefork import WORKER_SIGRESET
from celery.utils.log import get_logger
from celery.worker import state

from runner._dataclass import dataclass
from runner.attempt.capture.child import Capture
from runner.attempt.channel import ParentGone
from runner.attempt.forks import own_multiprocessing, reset_signals_in_forks
from runner.attempt.inherited import Generators
from runner.attempt.limits import Limits
from runner.attempt.process_state import ProcessState
from runner.attempt.state import SharedState, TakerProcess
from runner.attempt.taker import Place, Taker
from runner.delivery.courier import open_ledger

log = get_logger(__name__)

EX_SOFTWARE = 70
"""The exit code of a taker process whose own code has failed."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The objects that a taker process inherits from its worker's parent, in addition to the shared state."""

    control: socket.socket
    """The channel by which it registers with the collector."""
    generators: Generators
    """The random generators that each process reseeds."""


def be_taker(shared: SharedState, place: Place, limits: Limits, inherited: Inherited) -> NoReturn:
    """Run a taker until the worker no longer needs this process."""
    status = EX_SOFTWARE
    try:
        taker = prepare(shared, place, limits, inherited)
        taker.run()
        status = 0
    except ParentGone:
        status = 0
    except SystemExit as leaving:
        # A signal handler raised an exception, or a run was left to the next taker.
        status = leaving.code & 0xFF if isinstance(leaving.code, int) else EX_SOFTWARE
    except BaseException:
        log.exception("a taker failed")
    finally:
        try:
            signals.worker_process_shutdown.send(sender=shared.worker, pid=os.getpid(), exitcode=status)
            _end_as_billiard_does()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        finally:
            os._exit(status)


def prepare(shared: SharedState, place: Place, limits: Limits, inherited: Inherited) -> Taker:
    """Make this process ready for runs.

    It gets its own process group, so that the processes of a job can be killed together with it, and Ctrl-C in a
    terminal reaches only the parent. It also gets a pipe for the output of its runs, and new random seeds.
    """
    os.setpgid(0, 0)
    own_multiprocessing(f"Taker-{place.slot.index + 1}")
    _begin_as_celery_does(shared)
    reset_signals()
    reset_signals_in_forks()
    shared.app.backend.use(open_ledger(shared.settings, lightly=True))
    process = ProcessState()
    shared.process = TakerProcess(Capture(inherited.control), process, inherited.generators)
    inherited.generators.reseed()
    taker = Taker(shared, place, enforced=True, limits=limits, is_spent=lambda: process.spoiled is not None)

    def time_out(_signum: int, _frame: FrameType | None) -> None:
        if taker.may_be_interrupted:
            process.soft_limit.strike()

    signal.signal(signal.SIGUSR1, time_out)
    # Not ignored, because programs that a job starts would ignore it, too. A handler is reset at their start.
    signal.signal(signal.SIGINT, _overhear)
    return taker


def _begin_as_celery_does(shared: SharedState) -> None:
    """Do the work of Celery's ``process_initializer``, without building a tracer for each job."""
    app = shared.app
    _set_task_join_will_block(True)
    platforms.signals.reset(*WORKER_SIGRESET)
    platforms.set_mp_process_title("celeryd", hostname=shared.worker)
    app.loader.init_worker()
    app.loader.init_worker_process()
    app.set_current()
    set_default_app(app)
    app.finalize()
    trace._tasks = app._tasks
    state.reset_state()
    signals.worker_process_init.send(sender=shared.worker)


class _Over:
    """A loop for billiard that ends at once."""

    @property
    def outq(self) -> Any:
        raise SystemExit(0)


def _end_as_billiard_does() -> None:
    """Send pending data. Sentry wraps the loop of a pool process and sends its events at the end."""
    with contextlib.suppress(SystemExit):
        Worker.workloop(_Over(), pid=os.getpid())


def _overhear(signum: int, frame: FrameType | None) -> None:
    """Do nothing: the parent handles a terminal's Ctrl-C."""
