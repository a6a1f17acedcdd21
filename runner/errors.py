"""The errors that a user can see, each with a message, a hint, and an exit code.

They are raised anywhere below ``cli``, and only ``cli`` prints them. The docstring of a class says when it is raised.
The exit codes are those of ``docs/reference/exit-codes.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class RunnerError(Exception):
    """The root of all errors of the runner.

    ``code`` is the stable, machine-readable name in ``{"error": {"code": …}}``.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def as_dict(self) -> dict[str, object]:
        """Return the JSON object that ``--json`` prints for this error."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "exit_code": self.exit_code,
            }
        }


class UsageError(RunnerError):
    """A command, an option, or a value is wrong."""

    code = "usage"
    exit_code = 2


class NoProject(UsageError):
    """No folder with ``runner.yaml`` or ``jobs.d`` was found."""

    code = "no_project"


class InvalidSettings(UsageError):
    """``runner.yaml``, a ``RUNNER_*`` variable, or something that they name is invalid.

    ``problems`` are those of files, each a :class:`runner.yaml_reader.problem.Problem` relative to ``folder``; empty if
    there are problems elsewhere too.
    """

    problems: tuple[Any, ...] = ()
    folder: Path | None = None

    code = "invalid_settings"


class InvalidSpec(UsageError):
    """A file in ``jobs.d`` has a problem that stops this command."""

    code = "invalid_spec"


class UnknownFile(UsageError):
    """There is no job file of that name, or the name leads out of the folders of jobs."""

    code = "unknown_file"


class InvalidParams(UsageError):
    """The params are not valid for the job."""

    code = "invalid_params"


class UnknownJob(UsageError):
    """There is no valid job of that name."""

    code = "unknown_job"


class ClusterRefused(UsageError):
    """``redis_url`` is that of a node of a Redis Cluster, which is not supported."""

    code = "cluster_refused"


class UnknownProject(UsageError):
    """None of the projects that a dashboard shows together has that name."""

    code = "unknown_project"


class NoArchive(UsageError):
    """The archive is to be read, but the project has none."""


class KeyConflict(UsageError):
    """The idempotency key was used before with other params."""

    code = "key_conflict"


class AmbiguousId(UsageError):
    """The prefix of an id matches several runs, or is shorter than 8 characters."""

    code = "ambiguous_id"


class CrontabError(UsageError):
    """The crontab cannot be read or written, or a schedule cannot be expressed in it."""

    code = "crontab"


class SystemdError(UsageError):
    """systemd does not run on this host, or it refuses the request."""

    code = "systemd"


class UnknownRun(RunnerError):
    """There is no such run: it was never submitted, or it was forgotten, or retention has deleted it."""

    code = "unknown_run"
    exit_code = 4


class ResultExpired(RunnerError):
    """The run has ended, but its result was deleted after ``retention.result``."""

    code = "result_expired"
    exit_code = 4


class Refused(RunnerError):
    """The request is not possible now: for example, the job is disabled, or the run has not finished."""

    code = "refused"
    exit_code = 5


class JobDisabled(Refused):
    """The job has ``enabled: false``."""

    code = "job_disabled"


class CannotTerminate(Refused):
    """The pool of the worker cannot terminate the run; its revocation is recorded nevertheless."""

    code = "cannot_terminate"


class JobPaused(Refused):
    """The job is paused."""

    code = "job_paused"


class BelongsToFlow(Refused):
    """The run is that of a step, which can only be forgotten or rerun together with its flow."""

    code = "belongs_to_flow"


class NotFinished(Refused):
    """The run has not finished, which ``forget`` and ``rerun`` require."""

    code = "not_finished"


class NotWaiting(Refused):
    """The step does not wait for an approval, which ``approve`` and ``reject`` require."""

    code = "not_waiting"


class CannotEdit(Refused):
    """A job file cannot be edited through the dashboard or the API: a link, other users' folder, a full disk."""

    code = "cannot_edit"


class FileChanged(Refused):
    """The job file is not the version that was edited any more."""

    code = "file_changed"


class Unavailable(RunnerError):
    """Redis or RabbitMQ cannot be reached, or did not confirm in time.

    ``run_id`` is the id of a run whose submission got no answer, so that it may have been recorded.
    """

    code = "unavailable"
    exit_code = 69
    run_id: str | None = None

    def naming_run(self) -> Unavailable:
        """Return the error with ``run_id`` in its message, for callers that do not know the id."""
        if self.run_id is None or self.run_id in self.message:
            return self
        named = type(self)(
            f"{self.message}; it is not known whether run {self.run_id} was recorded",
            hint=f"{self.hint}; then: runner status {self.run_id}" if self.hint else f"runner status {self.run_id}",
        )
        named.run_id = self.run_id
        return named


class PartlySubmitted(RunnerError):
    """Not all runs of a bulk submission were submitted (Python API only).

    ``runs`` has a :class:`runner.RunHandle` for each processed item, in order, and None for a refused one; ``refused``
    has the errors of refused items by index. ``stopped_by`` is the error that stopped the submission
    (:class:`Unavailable` or :class:`JobPaused`), after which the items from index ``len(runs)`` should be submitted
    again; it is None if all items were processed. :class:`NotHandedOver` does not stop a submission.
    """

    code = "partly_submitted"
    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        runs: Sequence[Any] = (),
        refused: Mapping[int, RunnerError] | None = None,
        stopped_by: RunnerError | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.runs = list(runs)
        self.refused = dict(refused or {})
        self.stopped_by = stopped_by


class Unconfirmed(Unavailable):
    """Redis accepted the change, but no replica confirmed it in time (``durability: replicated``)."""

    code = "unconfirmed"


class NotHandedOver(Unavailable):
    """RabbitMQ did not confirm a message about a run in time; the run itself is recorded.

    ``run_ids`` are the ids of the runs, and ``reason`` is the problem of RabbitMQ. A worker sends the messages once
    RabbitMQ is available again.
    """

    code = "not_handed_over"
    run_ids: tuple[str, ...] = ()
    reason: str = ""


class WriteRefused(Unavailable):
    """Redis will never accept the change: it is too large, a key has another type, or a permission is missing."""

    code = "write_refused"


class ArchiveUnavailable(RunnerError):
    """The database of ``archive_url`` cannot be reached, or refuses a request."""

    code = "archive_unavailable"
    exit_code = 69


class ArchiveMismatch(ArchiveUnavailable):
    """The schema of the database is newer than this version, or the ledger's runs are in another archive."""

    code = "archive_mismatch"


class WaitTimeout(RunnerError):
    """The timeout passed while waiting; the run goes on."""

    code = "wait_timeout"
    exit_code = 124


class RunFailed(RunnerError):
    """A run ended in FAILURE while a caller waited for it (Python API only)."""

    code = "run_failed"
    exit_code = 1


class RunRevoked(RunnerError):
    """A run ended in REVOKED while a caller waited for it (Python API only)."""

    code = "run_revoked"
    exit_code = 3
