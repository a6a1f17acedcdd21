"""Run a job in the foreground, with a queue and a worker of its own; the run ends with the caller."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.actions.submit import new_id, submit, submitter
from runner.actions.wait import wait
from runner.actions.worker_process import start_worker
from runner.errors import RunnerError, WaitTimeout
from runner.flows.advance import advance
from runner.host.places import check_for_children
from runner.model.private_queue import private_queue
from runner.model.run import Run
from runner.model.submit_options import SubmitOptions
from runner.process.group import guard, kill_group, release

if TYPE_CHECKING:
    from runner.actions.project import Project

STDERR = 2

END_SECONDS = 20.0
"""Seconds that a terminated run, and then its worker, may take to end."""


class PrivateWorkerEnded(RunnerError):
    """The worker that was started for the run ended before the run did."""

    code = "worker_ended"


def run_here(
    project: Project,
    job_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    assignments: Iterable[str] = (),
    timeout: float | None = None,
    verbose: bool = False,
    output: int = STDERR,
    on_change: Callable[[Run], None] = lambda _run: None,
) -> Run:
    """Run ``job_name`` to its end and return the run.

    Args:
        project: the project of the job.
        job_name: the job.
        params: the params.
        assignments: ``name=value`` texts, read by declared type.
        timeout: seconds after which the run is terminated, or None.
        verbose: whether to write the worker's whole log instead of only warnings.
        output: the descriptor for the output of the job and the log of the worker.
        on_change: called with the run after each change.

    Raises:
        WaitTimeout: the time has passed; the run was terminated.
        InvalidSettings: a worker cannot run on this host; nothing was submitted.
        PrivateWorkerEnded: the worker did not start, or died.
        KeyboardInterrupt and other interrupts: the run was terminated.
        RunnerError: see :func:`runner.actions.submit.submit`.
    """
    check_for_children()  # before submitting the run, which no other worker would take
    run_id = new_id()
    queue = private_queue(run_id)
    options = SubmitOptions(queue=queue)
    submitted = submit(
        project, job_name, params, assignments=assignments, run_id=run_id, options=options, steps_queue=queue
    )
    # A job is one run; a flow may have several active steps.
    several = project.settings.worker.concurrency if project.catalog.get(job_name).is_flow else 1
    try:
        with (
            _worker(project, queue, output, concurrency=several, verbose=verbose) as process,
            _watched(project, process, run_id) as died,
        ):
            [run] = wait(project, [submitted.id], timeout=timeout, on_change=on_change)
            if died.is_set() and run.reason == "cancelled":
                raise PrivateWorkerEnded(
                    f"the worker for run {run_id} ended (exit code {process.returncode}) before the run did",
                    hint="its log is above",
                )
            return run
    except WaitTimeout as error:
        raise WaitTimeout(
            f"the time to wait has passed, run {run_id} of {job_name} was terminated",
            hint=f"runner status {run_id}",
        ) from error


@contextmanager
def _worker(
    project: Project, queue: str, output: int, *, concurrency: int, verbose: bool
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker for one queue; it ends with the block and with this process."""
    level = "INFO" if verbose else "WARNING"
    arguments = ["--queue", queue, "--concurrency", str(concurrency), "--log-level", level, "--plain"]
    # A separate group, because this process handles a terminal's Ctrl-C. stdout is for the result.
    process = start_worker(project.settings, arguments, stdout=output, stderr=output, process_group=0)
    guard(process.pid)
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        kill_group(process.pid, 9, 0.0)
        process.wait()
        release(process.pid)
        # There may be thousands of such queues a day.
        with contextlib.suppress(RunnerError):
            project.ledger.remove_queue(queue)


@contextmanager
def _watched(project: Project, process: subprocess.Popen[bytes], run_id: str) -> Iterator[threading.Event]:
    """Terminate the run if the block is left before its end, and revoke it if its worker dies."""
    died, ended = threading.Event(), threading.Event()

    def follow() -> None:
        process.wait()
        if not ended.is_set():
            died.set()
            with contextlib.suppress(RunnerError):
                project.ledger.revoke(run_id, by=submitter(), comment="its worker ended")
                # For a flow: revoke the waiting steps, because there may be no other process to do so.
                advance(project.ledger, project.catalog, run_id, by=submitter())

    threading.Thread(target=follow, name="runner-worker-watch", daemon=True).start()
    try:
        yield died
    except BaseException:
        with contextlib.suppress(RunnerError):
            project.ledger.revoke(run_id, by=submitter(), comment="runner run was left", terminate=True)
            wait(project, [run_id], timeout=END_SECONDS)
        raise
    finally:
        ended.set()
