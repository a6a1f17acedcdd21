"""The output of ``submit`` and ``rerun`` about a submission."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.cli.terminal.faults import OutputLost
from runner.cli.terminal.interrupts import Terminated
from runner.cli.terminal.output import Output, command_line
from runner.errors import NotHandedOver, Unavailable, Unconfirmed
from runner.ledger.keys import Keys

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.submission import Submitted


@contextmanager
def submitting(project: Project, out: Output, run_id: str) -> Iterator[None]:
    """Print the run's id if Redis does not answer, since the run may be recorded: ``status`` shows that later."""
    later = command_line(project, "status", run_id)
    try:
        yield
    except Unconfirmed:
        raise
    except NotHandedOver as error:
        error.hint = f"{error.hint}; {later}"
        raise
    except Unavailable as error:
        known = look_once(project, run_id) if project.opened else False
        if known is True:
            hint = f"run {run_id} was recorded all the same, and will run: {later}"
        elif known is False:
            hint = f"run {run_id} does not exist; submit again"
        else:
            hint = f"it is not known whether run {run_id} was recorded; once Redis is back: {later}"
        raise Unavailable(error.message, hint=f"{error.hint}; {hint}" if error.hint else hint) from error
    except (KeyboardInterrupt, Terminated):
        out.quiet = False
        out.note(f"interrupted: it is not known whether run {run_id} was recorded; {later}")
        raise


def look_once(project: Project, run_id: str) -> bool | None:
    """Return whether a run exists; None if Redis does not answer soon. It is asked only once."""
    from runner.ledger.connection import exists_now  # start-up time: only where a submission failed

    return exists_now(project.settings, Keys(project.settings.namespace).run(run_id))


def print_submitted(project: Project, out: Output, submitted: Submitted, *, wait: bool) -> None:
    """Print the id at once, or with ``--json`` the document. With ``wait``, that comes last, and the id is on stderr.

    Raises:
        OutputLost: stdout cannot be written; the id is on stderr.
    """
    if submitted.duplicate:
        out.note(f"this was submitted before, as run {submitted.id}; no run was added")
    try:
        if not out.as_json:
            out.data(submitted.id)
        elif wait:
            out.note(f"run {submitted.id}")
        elif not out.quiet:
            from runner.actions.submit import submitted_document  # start-up time: only JSON shows it

            out.document(submitted_document(project, submitted))
    except OutputLost:
        out.note(f"run {submitted.id} is submitted and continues")
        raise


def warn_of_queue(project: Project, out: Output, queue: str) -> None:
    """Warn if no live worker takes runs from a queue."""
    try:
        if queue in project.ledger.consumed_queues():
            return
    except Unavailable:
        return  # the run is recorded, and the exit code is about that
    start = command_line(project, "worker", *(() if queue == "default" else ("-Q", queue)))
    out.warn(f"no live worker takes runs from queue {queue}, the run waits for one: {start}")
