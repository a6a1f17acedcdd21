"""Every error a user can meet: its message, a hint (what to do next) and the exit code.

Raised anywhere below ``cli``; only ``cli`` prints them. The docstring of a class says when it is
raised. Exit codes follow the table in ``docs/reference/exit-codes.md``.
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
    """The command, an option or a value was wrong."""

    code = "usage"
    exit_code = 2


class NoProject(UsageError):
    """No folder with ``runner.yaml`` or ``jobs.d`` was found."""

    code = "no_project"


class InvalidSettings(UsageError):
    """``runner.yaml``, a ``RUNNER_*`` variable or what they point to is wrong.

    ``problems`` are those of files, each a :class:`runner.yaml_reader.problem.Problem`, relative to ``folder``; empty
    where something else is wrong as well.
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
    """The params do not fit what the job declares."""

    code = "invalid_params"


class UnknownJob(UsageError):
    """No sound job of that name is declared."""

    code = "unknown_job"


class ClusterRefused(UsageError):
    """``redis_url`` names a node of a Redis Cluster."""

    code = "cluster_refused"


class UnknownProject(UsageError):
    """None of the projects that are shown together has that name."""

    code = "unknown_project"


class NoArchive(UsageError):
    """Only the archive is asked, and the project has none."""


class KeyConflict(UsageError):
    """The idempotency key was used before, with other params."""

    code = "key_conflict"


class AmbiguousId(UsageError):
    """The prefix fits more than one run, or is shorter than 8 characters."""

    code = "ambiguous_id"


class CrontabError(UsageError):
    """The crontab cannot be read or written, or cannot say what is to be said."""

    code = "crontab"


class SystemdError(UsageError):
    """systemd does not run here, or refuses what is asked of it."""

    code = "systemd"


class UnknownRun(RunnerError):
    """No such run: never submitted, forgotten, or pruned by retention."""

    code = "unknown_run"
    exit_code = 4


class ResultExpired(RunnerError):
    """The run ended, and its result was kept for ``retention.result`` only."""

    code = "result_expired"
    exit_code = 4


class Refused(RunnerError):
    """The runner can do it, but not now: job disabled, run not finished yet."""

    code = "refused"
    exit_code = 5


class JobDisabled(Refused):
    """The job says ``enabled: false``."""

    code = "job_disabled"


class CannotTerminate(Refused):
    """The pool of the worker that performs the run cannot end it; the revocation is recorded all the same."""

    code = "cannot_terminate"


class JobPaused(Refused):
    """Somebody paused the job."""

    code = "job_paused"


class BelongsToFlow(Refused):
    """The run is a step run: it is forgotten, and run again, with its flow."""

    code = "belongs_to_flow"


class NotFinished(Refused):
    """``forget`` and ``rerun`` want a run in a final state."""

    code = "not_finished"


class NotWaiting(Refused):
    """``approve`` and ``reject`` want a step that waits for an approval."""

    code = "not_waiting"


class CannotEdit(Refused):
    """A job file cannot be edited through the dashboard or the API: a link, other users' folder, a full disk."""

    code = "cannot_edit"


class FileChanged(Refused):
    """The job file is not the version that was edited any more."""

    code = "file_changed"


class Unavailable(RunnerError):
    """Redis or RabbitMQ cannot be reached, or did not confirm in time.

    ``run_id`` is the id of the run whose submission got no answer: it may have been recorded.
    """

    code = "unavailable"
    exit_code = 69
    run_id: str | None = None

    def naming_run(self) -> Unavailable:
        """Return the error with ``run_id`` in its message, for callers that have not seen the id otherwise."""
        if self.run_id is None or self.run_id in self.message:
            return self
        named = type(self)(
            f"{self.message}; it is not known whether run {self.run_id} was recorded",
            hint=f"{self.hint}; then: runner status {self.run_id}" if self.hint else f"runner status {self.run_id}",
        )
        named.run_id = self.run_id
        return named


class PartlySubmitted(RunnerError):
    """Not all runs of a bulk submission were made (Python API only).

    ``runs`` has a :class:`runner.RunHandle` for each item that was dealt with, in their order, and None where an item
    was refused; ``refused`` has the error of each of those by its position. ``stopped_by`` is None if all items were
    dealt with, else what ended it (:class:`Unavailable` or :class:`JobPaused`): the items from position ``len(runs)``
    on are to be submitted again. :class:`NotHandedOver` ends nothing: no item is to be submitted again.
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
    """Redis accepted it, and no replica confirmed it in time (``durability: replicated``)."""

    code = "unconfirmed"


class NotHandedOver(Unavailable):
    """RabbitMQ did not confirm in time that it has told workers of a run; the run is recorded.

    ``run_ids`` are the ids of the runs, ``reason`` says what is wrong with RabbitMQ. Any worker tells of the runs once
    it is back.
    """

    code = "not_handed_over"
    run_ids: tuple[str, ...] = ()
    reason: str = ""


class WriteRefused(Unavailable):
    """Redis will never accept it: it is too large, a key has another type, or a permission is missing."""

    code = "write_refused"


class ArchiveUnavailable(RunnerError):
    """The database of ``archive_url`` cannot be reached, or refuses what is asked of it."""

    code = "archive_unavailable"
    exit_code = 69


class ArchiveMismatch(ArchiveUnavailable):
    """The database has a newer schema than this version knows, or the ledger's runs are kept in another archive."""

    code = "archive_mismatch"


class WaitTimeout(RunnerError):
    """The time to wait has passed; the run goes on."""

    code = "wait_timeout"
    exit_code = 124


class RunFailed(RunnerError):
    """The run that was waited for ended in FAILURE (Python API only)."""

    code = "run_failed"
    exit_code = 1


class RunRevoked(RunnerError):
    """The run that was waited for ended in REVOKED (Python API only)."""

    code = "run_revoked"
    exit_code = 3
