"""Submits a run for each line of a file: ids go to stdout in order, refusals with their line number to stderr."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.actions.submit_many import MOST_AT_ONCE, BulkSubmission, NotSubmitted
from runner.cli.terminal.faults import OutputLost, error_document, worst
from runner.cli.terminal.follow import follow
from runner.cli.terminal.interrupts import Terminated
from runner.cli.terminal.lines import Line, opened, read_lines
from runner.cli.terminal.output import Output, command_line, to_json
from runner.cli.terminal.submitted import warn_of_queue
from runner.errors import InvalidParams, RunnerError
from runner.ledger.submission import Submitted
from runner.model.run import Run
from runner.model.strict_json import read_json

if TYPE_CHECKING:
    from runner.actions.project import Project

_REFUSED = 2
_FORM = "write one JSON object per line"


class Lines:
    """The lines of a file, and how far a command has submitted them."""

    def __init__(self, project: Project, out: Output, bulk: BulkSubmission, name: str, *, wait: bool) -> None:
        self.project = project
        self.out = out
        self.bulk = bulk
        self.name = name
        self.wait = wait
        self.submitted = self.refused = self.duplicates = 0
        self.next = 1
        """The first line that has not been submitted."""
        self.outcomes: list[tuple[int, Submitted | RunnerError]] = []
        """The number and the outcome of every line; only with ``wait``."""
        self._end = 1
        self._begun = False

    def submit(self, before: Mapping[str, Any], over: Mapping[str, Any]) -> int:
        """Submit a run for each line; return the exit code.

        Args:
            before: params that those of a line override.
            over: params that override those of a line.
        """
        code = 0
        try:
            with opened(self.name) as descriptor:
                for batch in read_lines(descriptor, self.name, MOST_AT_ONCE):
                    self._submit(batch, before, over)
        except (KeyboardInterrupt, Terminated):
            self._report_interrupt()
            raise
        except NotSubmitted as stopped:
            code = self._stop(stopped.error, self._doubt(stopped.run_id) if stopped.recorded is None else None)
        except RunnerError as error:
            code = self._stop(error, None)
        left = self.bulk.not_handed_over()
        if left is not None:
            self._report_error(left)
            code = worst([code, left.exit_code])
        if self.out.as_json and not self.wait:
            self.out.data("]" if self._begun else "[]")
        if self.duplicates:
            self.out.note(f"{_lines(self.duplicates)} submitted before; no runs were added for them")
        if self.refused:
            self.out.note(f"{_lines(self.refused)} refused; runs submitted: {self.submitted:,}")
        return worst([code, _REFUSED if self.refused else 0])

    def _submit(self, batch: Sequence[Line], before: Mapping[str, Any], over: Mapping[str, Any]) -> None:
        self._end = batch[-1].number + 1
        stop = None
        try:
            outcomes = self.bulk.submit([_read(line, before, over) for line in batch])
        except NotSubmitted as stopped:
            outcomes, stop = stopped.outcomes, stopped
        # Counted before anything is written, so that an interrupt reports the right line to continue from.
        made = [outcome for outcome in outcomes if isinstance(outcome, Submitted)]
        again = sum(outcome.duplicate for outcome in made)
        end = batch[len(outcomes) - 1].number + 1 if outcomes else self.next
        first = self.submitted == 0 and len(made) > 0
        refused = len(outcomes) - len(made)
        self.submitted, self.duplicates, self.refused, self.next, self.bulk.asked_for = (
            self.submitted + len(made),
            self.duplicates + again,
            self.refused + refused,
            end,
            (),
        )
        self._report([line.number for line in batch], outcomes)
        if first and not (self.out.quiet and not self.wait):
            warn_of_queue(self.project, self.out, self.bulk.common.queue)
        if stop is not None:
            raise stop

    def _report(self, numbers: Sequence[int], outcomes: Sequence[Submitted | RunnerError]) -> None:
        numbered = list(zip(numbers, outcomes, strict=False))
        if self.wait:
            self.outcomes += numbered
        if self.out.as_json and not self.out.quiet:
            if not self.wait:
                ids = [outcome.id for outcome in outcomes if isinstance(outcome, Submitted)]
                found = self.project.records.read(ids)
                for document in documents(numbered, found):
                    self._element(document)
            return
        for number, outcome in numbered:
            if isinstance(outcome, Submitted):
                self.out.data(outcome.id)  # nothing with --quiet
            else:
                self.out.note(f"error: line {number}: {outcome.message}")

    def _element(self, document: Mapping[str, Any]) -> None:
        """Print an element of the array at once: the whole array may not fit into memory."""
        self.out.data(("," if self._begun else "[") + to_json(document))
        self._begun = True

    def _stop(self, error: RunnerError, doubt: str | None) -> int:
        hint = "; ".join(part for part in (error.hint, doubt, self._go_on()) if part)
        self._report_error(type(error)(error.message, hint=hint))
        return error.exit_code

    def _report_error(self, error: RunnerError) -> None:
        if isinstance(error, OutputLost) or self.out.quiet or not self.out.as_json:
            self.out.error(error)
        elif self.wait:
            self.outcomes.append((self.next, error))
        else:
            self._element({"line": self.next, **error_document(error)})

    def _doubt(self, run_id: str | None) -> str:
        return (
            f"it is not known whether lines {self.next} to {self._end - 1} were recorded: they were if "
            f"{command_line(self.project, 'status', str(run_id))} finds a run"
        )

    def _report_interrupt(self) -> None:
        recorded = self.bulk.is_recorded()
        if recorded:
            self.submitted += len(self.bulk.asked_for)
            self.next = self._end
        run_id = self.bulk.asked_for[0].id if recorded is None else None
        self.out.quiet = False
        self.out.note("; ".join(["interrupted", *([self._doubt(run_id)] if run_id else []), self._go_on()]))

    def _go_on(self) -> str:
        if self.next == 1:
            return "nothing was submitted"
        progress = f"runs submitted: {self.submitted:,}; go on from line {self.next}"
        if self.name == "-":
            return progress
        again = command_line(self.project, "submit", self.bulk.job.name, "--params-file", "-")
        return f"{progress}, with the same options: tail -n +{self.next} {shlex.quote(self.name)} | {again}"


def documents(outcomes: Iterable[tuple[int, Submitted | RunnerError]], runs: Iterable[Run]) -> Iterator[dict[str, Any]]:
    """Yield the JSON document of each line: the run or the error."""
    known = {run.id: run.document() for run in runs}
    for number, outcome in outcomes:
        if isinstance(outcome, Submitted):
            yield {"line": number, **known.get(outcome.id, {"id": outcome.id}), "duplicate": outcome.duplicate}
        else:
            yield {"line": number, **error_document(outcome)}


def submit_lines(
    project: Project,
    out: Output,
    bulk: BulkSubmission,
    name: str,
    *,
    before: Mapping[str, Any],
    over: Mapping[str, Any],
    wait: bool,
    timeout: float | None,
) -> int:
    """Submit a run for each line of a file, and wait for them if asked to; return the exit code.

    Args:
        project: the project of the job.
        out: where ids and refusals are printed.
        bulk: the job and the options of the runs.
        name: the name of the file; ``-`` for stdin.
        before: params that those of a line override.
        over: params that override those of a line.
        wait: whether to wait until all runs have ended.
        timeout: seconds to wait, or None.
    """
    lines = Lines(project, out, bulk, name, wait=wait)
    code = lines.submit(before, over)
    if not wait:
        return out.finish(code)
    ids = list(dict.fromkeys(outcome.id for _, outcome in lines.outcomes if isinstance(outcome, Submitted)))
    code, runs = follow(project, out, ids, timeout=timeout, codes=[code]) if ids else (code, [])
    if out.as_json and (code != 0 or not out.quiet):
        out.document(list(documents(lines.outcomes, runs)))
    return out.finish(code)


def _read(line: Line, before: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any] | InvalidParams:
    if line.text is None:
        return InvalidParams("is too long", hint=_FORM)
    try:
        value = read_json(line.text.decode("utf-8-sig" if line.number == 1 else "utf-8"))
    except UnicodeDecodeError:
        return InvalidParams("is not UTF-8", hint="save it in UTF-8")
    except ValueError as error:
        return InvalidParams(f"is not JSON: {error}", hint=_FORM)
    if not isinstance(value, dict):
        return InvalidParams("is not a JSON object", hint=_FORM)
    return {**before, **value, **over} if before or over else value


def _lines(number: int) -> str:
    return "1 line was" if number == 1 else f"{number:,} lines were"
