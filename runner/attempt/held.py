"""Handle claimed messages whose run the script could not start.

``take.lua`` starts the runs whose jobs are the same in this worker as at the submission. All other messages are handled
here: runs of jobs that this worker does not know, has in another version, or cannot import; messages that plain Celery
clients have put into a queue of runs; and damaged messages.
"""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable
from enum import StrEnum

from celery.utils.log import get_logger
from kombu.message import Message

from runner.app.adopt import adopt
from runner.app.celery_types import DeclaredTask, JsonObject
from runner.app.worker_log import about
from runner.attempt.job_task import JobImportError
from runner.attempt.state import SharedState
from runner.delivery.claims import Claims
from runner.delivery.envelope import UnreadableError, read_envelope
from runner.errors import InvalidParams, RunnerError
from runner.ledger.attempt import Dropped, Settled
from runner.ledger.message import MARK
from runner.ledger.outcome import describe_exception
from runner.ledger.record import pack_digest
from runner.ledger.specs import UNKNOWN_JOB_PATIENCE
from runner.ledger.take import Held, Taken
from runner.model.job import JobSpec
from runner.params.check import check_params

log = get_logger(__name__)

UNKNOWN_JOB_PAUSE = 5.0
"""Seconds until such a run is checked again."""

FRESH_SECONDS = 5.0
"""A spec that was loaded within this time, while the worker was running, may come from an incomplete file. Runs that do
not match it are handed back instead of failed."""

FRESH_PAUSE = 1.0
"""Seconds until such a run is checked again."""


class Looked(StrEnum):
    """The result of reading the job files again because of a run."""

    SAME = "same"
    CHANGED = "changed"
    UNSETTLED = "unsettled"
    """The files are being written, so their content is not known yet."""


UNSETTLED_PAUSE = 0.25
"""Seconds until a run whose job is being written is checked again."""


class UnknownJobError(Exception):
    """No worker that checked the run knows its job."""


class JobsChanged(Exception):
    """The worker has reloaded its files: the message is for a taker that has the new jobs."""


class HeldMessages:
    """Decides about messages, for one taker.

    Args:
        shared: the shared state.
        claims: hand messages back.
        look: makes the worker reload its files because of a job and a digest, and returns the result.
    """

    def __init__(self, shared: SharedState, claims: Claims, look: Callable[[str, object], Looked]) -> None:
        self._shared = shared
        self._claims = claims
        self._look = look
        self.settled = Settled.STALE
        """The answer about the last run that was ended."""

    def decide(self, held: Held) -> Taken | None:
        """Return the run to perform, which is then STARTED; None without one.

        Raises:
            JobsChanged: the jobs of this worker have changed; the claim stays.
            Unavailable: Redis cannot be reached, and the worker no longer waits for it.
        """
        raw = held.message.encode("utf-8", "surrogateescape")
        try:
            envelope = read_envelope(raw, held.token)
        except UnreadableError as error:
            log.critical("a message is put to the dead letters: %s", error)
            self._claims.bury(held.token, raw, str(error), error.run_id)
            return None
        headers = envelope["headers"]
        try:
            if MARK in headers:
                return self._decide(held, headers)
            self._adopt(held, raw, envelope, headers["task"])
        except (RunnerError, JobsChanged):
            raise
        except Exception as error:
            # The content of a message must not end this taker and every taker that takes it afterwards.
            log.critical("a message broke its handling: %r", error, exc_info=True)
            ours = headers["id"] if MARK in headers else None
            self._claims.bury(held.token, raw, f"it broke its handling: {error!r}", ours)
        return None

    def _decide(self, held: Held, headers: JsonObject) -> Taken | None:
        name, digest = headers["task"], headers.get("digest")
        task = self._shared.app.job_task(name)
        other = task is None or digest != pack_digest(task.job.digest)
        run_id = headers["id"]
        looked = self._look(name, digest) if other else Looked.SAME
        if looked is Looked.CHANGED:
            raise JobsChanged
        if looked is Looked.UNSETTLED:
            self._later(held, UNSETTLED_PAUSE, f"the file of job {name} is being written")
            return None
        if self._shared.app.job_task(name) is not task:
            # In the worker's own process, the jobs may have been reloaded during the check.
            raise JobsChanged
        if task is None:
            self._refuse_unknown(held, run_id, name)
            return None
        if other and _is_fresh(task) and not self._fits(task.job, run_id):
            text = f"run {run_id}: its params do not fit {name}, which just changed: handed back"
            log.warning("%s", text, extra=about(run_id, name))
            self._later(held, FRESH_PAUSE, f"its params do not fit job {name}, which just changed")
            return None
        if task.broken is not None:
            self._refuse_broken(held, run_id, task)
            return None
        return self._start(held, run_id, task)

    def _start(self, held: Held, run_id: str, task: DeclaredTask) -> Taken | None:
        attempts = self._shared.attempts
        answer = attempts.begin(run_id, held.token, self._shared.worker, task.name, task.job.digest)
        if isinstance(answer, Dropped):
            log.info("run %s of %s is not started here: %s", run_id, task.name, answer.why)
            return None
        return Taken(run_id, task.name, held.queue, held.priority, held.token, answer)

    def _adopt(self, held: Held, raw: bytes, envelope: JsonObject, name: str) -> None:
        task = self._shared.app.job_task(name)
        if task is None:
            log.critical("a message is put to the dead letters: no job %r is declared here", name[:100])
            self._claims.bury(held.token, raw, f"no job {name[:100]!r} is declared here", None)
            return
        message = Message(
            # The same decoding as in Kombu's channel: the envelope says that bodies are in base64.
            body=b64decode(envelope["body"]),
            content_type=envelope["content-type"],
            content_encoding=envelope["content-encoding"],
            headers=envelope["headers"],
            properties=envelope["properties"],
            accept={"application/json"},
        )
        adopt(self._shared.app, task.job, message)
        self._claims.drop(held.token)

    def _refuse_unknown(self, held: Held, run_id: str, name: str) -> None:
        """Hand a run back for a while without counting a loss; then it ends in FAILURE, unknown_job."""
        shared, ledger = self._shared, self._shared.ledger
        run = next(iter(ledger.read([run_id])), None)
        if run is None or run.final:
            self._claims.drop(held.token)
            return
        refused = ledger.refused_for(run_id)
        if refused is None or refused < UNKNOWN_JOB_PATIENCE:
            log.warning("run %s: job %s is not declared here, handed back", run_id, name, extra=about(run_id, name))
            self._later(held, UNKNOWN_JOB_PAUSE, f"job {name} is not declared by {shared.worker}")
            return
        error = UnknownJobError(f"no worker knows job {name}, it may have been removed from jobs.d")
        failure = describe_exception(error, shared.settings.limits.traceback)
        self.settled = shared.attempts.fail_waiting(run_id, held.token, "unknown_job", failure)

    def _refuse_broken(self, held: Held, run_id: str, task: DeclaredTask) -> None:
        """End the run of a job whose target cannot be imported here: FAILURE, import_error."""
        shared = self._shared
        failure = describe_exception(JobImportError(task.broken), shared.settings.limits.traceback)
        self.settled = shared.attempts.fail_waiting(run_id, held.token, "import_error", failure)
        log.error("run %s of %s: import_error: %s", run_id, task.name, task.broken, extra=about(run_id, task.name))

    def _later(self, held: Held, pause: float, detail: str) -> None:
        self._claims.hand_back_waiting([held.token], pause=pause, detail=detail)

    def _fits(self, job: JobSpec, run_id: str) -> bool:
        """Return whether a run's params match a job; also True if they are checked elsewhere."""
        run = next(iter(self._shared.ledger.read([run_id])), None)
        if run is None:
            return True
        try:
            check_params(job, run.params)
        except InvalidParams:
            return False
        return True


def _is_fresh(task: DeclaredTask) -> bool:
    return task.loaded_at is not None and time.monotonic() - task.loaded_at < FRESH_SECONDS
