"""Create the runs of an admitted step: one per item, with its job, its params, and how it begins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol

from runner._dataclass import dataclass
from runner.catalog.digest import digest_of
from runner.catalog.steps import ITEM, step_job, step_spec
from runner.errors import InvalidParams, JobDisabled, RunnerError, UnknownJob
from runner.flows.expand import holds, items_of
from runner.flows.values import NO_ITEM, Values, look_up
from runner.ledger.admission import admit_params, failure_of
from runner.ledger.flow_progress import step_run_id
from runner.ledger.flows import MADE_AT_ONCE, Flow, StepBrought, brought_by
from runner.ledger.reading import read_runs
from runner.ledger.record import LATEST
from runner.ledger.specs import UNKNOWN_JOB_PATIENCE
from runner.ledger.store import Store
from runner.ledger.submission import StepEntry, StepOf, Submission, write_params
from runner.model.job import JobSpec
from runner.model.run import FailureReason, Run, State
from runner.model.step import Step
from runner.model.template import Sources, Unset, expand, placeholders
from runner.params.check import check_size

log = logging.getLogger(__name__)

REUSED_AT_ONCE = 10
"""The maximum number of step runs that reuse results per script: results are copied and may be large."""

MOST_LEVELS = 4
"""The maximum depth of nested flows."""


class KnownJobs(Protocol):
    """The jobs for steps with ``job``: those of a catalog, or of a process that follows one."""

    def get(self, name: str) -> JobSpec:
        """Return a job.

        Raises:
            UnknownJob: the job does not exist.
        """


@dataclass(frozen=True, slots=True)
class Batch:
    """The next runs of a step, to be created with one script. ``items``: all items of the step."""

    common: Submission
    entries: Sequence[StepEntry]
    items: int


@dataclass(slots=True)
class Admitting:
    """Creates batches for the steps of one flow. Data that does not change during the flow is read once."""

    store: Store
    catalog: KnownJobs
    job: JobSpec
    """The graph of the flow at its submission."""
    run: Run
    """The job of the flow."""
    _items: dict[str, list[Any]] = field(default_factory=dict)
    _brought: dict[str, StepBrought] = field(default_factory=dict)

    def skipped(self, flow: Flow, name: str, reason: str) -> Batch:
        """Return a last run for a step, which ends in REVOKED at once."""
        step, made = self.job.steps[name], _made(flow, name)
        # As in the repeated flow, so that steps that need it are not run again because of it.
        same = reason == "skipped" and made == 0 and "reuse" in flow.record and not self._hangs_on_fresh(flow, name)
        entry = StepEntry(_id(flow, step, name, made), {}, "pass" if same else "revoke", reason)
        return Batch(self._common(flow, name, _nothing(step, self.job, name)), [entry], made + 1)

    def admitted(self, flow: Flow, name: str) -> Batch | None:
        """Return the next runs of a step whose needs are met; None to leave them to a process that knows its job.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        step, made = self.job.steps[name], _made(flow, name)
        look = self._look_up(flow, step)
        try:
            if made == 0 and step.if_ is not None and not holds(step.if_, look(NO_ITEM, flow.id)):
                return self.skipped(flow, name, "skipped")
            items = self._items_of(flow, name, look)
        except (ValueError, Unset) as error:
            return self._refused(flow, name, InvalidParams(_message_of(error)), str(FailureReason.INVALID_PARAMS))
        try:
            spec = self._spec(flow, name)
        except RunnerError as error:
            if isinstance(error, UnknownJob) and self._waited(flow, name) < UNKNOWN_JOB_PATIENCE:
                log.warning("flow %s: job %s of step %s is not declared here", flow.id, step.job, name)
                return None
            unknown = isinstance(error, UnknownJob | JobDisabled)
            reason = FailureReason.UNKNOWN_JOB if unknown else FailureReason.INVALID_PARAMS
            return self._refused(flow, name, error, str(reason))
        chosen = items[made : made + MADE_AT_ONCE]
        entries = [self._entry(flow, name, spec, item, made + index, look) for index, item in enumerate(chosen)]
        return Batch(self._common(flow, name, spec), self._with_reused(flow, name, spec, entries), len(items))

    def _items_of(self, flow: Flow, name: str, look: Callable[[Any, str], Callable[[str], Any]]) -> list[Any]:
        found = self._items.get(name)
        if found is None:
            each = self.job.steps[name].each
            found = [NO_ITEM] if each is None else items_of(each, look(NO_ITEM, flow.id))
            self._items[name] = found
        return found

    def _look_up(self, flow: Flow, step: Step) -> Callable[[Any, str], Callable[[str], Any]]:
        """Return a function that returns the lookup of placeholders for an item and a run id."""
        run = self.run
        brought = self._brought_in(flow, _steps_in([step.if_, step.each, step.params]))

        def look(item: Any, run_id: str) -> Callable[[str], Any]:
            values = Values(item=item, steps=brought)
            sources = Sources(run_id=run_id, slot=run.slot, params=run.params)

            def found(name: str) -> Any:
                of_flow = name.startswith("steps.") or name == "item" or name.startswith(("item.", "item["))
                return look_up(name, values) if of_flow else sources.look_up(name)

            return found

        return look

    def _brought_in(self, flow: Flow, names: Sequence[str]) -> Mapping[str, StepBrought]:
        new = {
            name: self.job.steps[name].each is not None
            for name in names
            if name not in self._brought and name in self.job.steps
        }
        # Ended steps never change.
        self._brought |= brought_by(self.store, flow.id, flow.progress, new)
        return self._brought

    def _spec(self, flow: Flow, name: str) -> JobSpec:
        """Return the job of a step's runs.

        Raises:
            UnknownJob: this host does not know the job.
            JobDisabled: the job is disabled.
            InvalidParams: flows would be nested too deeply.
        """
        step = self.job.steps[name]
        if step.job is None:
            return step_spec(self.job, name) if step.task is not None else _nothing(step, self.job, name)
        spec = self.catalog.get(step.job)
        if not spec.enabled:
            raise JobDisabled(f"job {spec.name} is disabled", hint=f"set enabled: true in {spec.file}")
        if spec.is_flow and _level(flow) >= MOST_LEVELS:
            raise InvalidParams(f"job {spec.name} has steps, and there are {MOST_LEVELS} flows in one another already")
        return spec

    def _waited(self, flow: Flow, name: str) -> float:
        """Return the seconds since the needs of a step were met."""
        ended = [known.ended or 0 for need in self.job.steps[name].needs if (known := flow.progress.steps.get(need))]
        begun = flow.record.get("begun", "")
        since = max([*ended, int(begun) if begun.isascii() and begun.isdigit() else 0])
        return self.store.now() - since / 1000

    def _entry(
        self, flow: Flow, name: str, spec: JobSpec, item: Any, index: int, look: Callable[[Any, str], Any]
    ) -> StepEntry:
        step = self.job.steps[name]
        run_id = _id(flow, step, name, index)
        try:
            return StepEntry(run_id, self._params(step, spec, item, look(item, run_id)))
        except (InvalidParams, ValueError, Unset) as error:
            invalid_params = error if isinstance(error, InvalidParams) else InvalidParams(_message_of(error))
            return StepEntry(run_id, {}, "refuse", str(FailureReason.INVALID_PARAMS), failure_of(invalid_params))

    def _params(self, step: Step, spec: JobSpec, item: Any, look: Callable[[str], Any]) -> Mapping[str, Any]:
        if step.job is not None:
            return admit_params(spec, expand(step.params, look), self.store.settings)
        params = {name: self.run.params.get(name) for name in spec.params if name != ITEM}
        if item is not NO_ITEM:
            params[ITEM] = item
        check_size(params, self.store.settings.limits.params)
        return params

    def _refused(self, flow: Flow, name: str, error: RunnerError, reason: str) -> Batch:
        """Return a last run for a step, which fails at once."""
        step, made = self.job.steps[name], _made(flow, name)
        entry = StepEntry(_id(flow, step, name, made), {}, "refuse", reason, failure_of(error))
        return Batch(self._common(flow, name, _nothing(step, self.job, name)), [entry], made + 1)

    def _common(self, flow: Flow, name: str, spec: JobSpec) -> Submission:
        step, record = self.job.steps[name], flow.record
        slot = record.get("slot", "")
        return Submission(
            id="",
            job=spec,
            params={},
            queue=record.get("steps_queue") or spec.queue,
            steps_queue=record.get("steps_queue"),
            priority=spec.priority,
            trigger="flow",
            submitted_by=record.get("submitted_by"),
            expires=step.approval.within if step.approval is not None else spec.expires,
            slot=int(slot) if slot.isascii() and slot.isdigit() and len(slot) < 15 and int(slot) <= LATEST else None,
            at_once=step.at_once,
            forced=record.get("forced") == "1",
            step_of=StepOf(
                flow=flow.id,
                job=self.job.name,
                step=name,
                level=_level(flow) + 1,
                approval=step.approval is not None,
                traceparent=record.get("traceparent"),
            ),
        )

    # -- results of an earlier flow

    def _with_reused(self, flow: Flow, name: str, spec: JobSpec, entries: Sequence[StepEntry]) -> Sequence[StepEntry]:
        """Return the entries, reusing results of the repeated flow where they would be the same."""
        before = flow.record.get("reuse")
        if not before or self._hangs_on_fresh(flow, name):
            return entries
        step, first = self.job.steps[name], _made(flow, name)
        entries = entries[:REUSED_AT_ONCE]
        old = {
            index: step_run_id(before, name, None if step.each is None else index)
            for index in range(first, first + len(entries))
        }
        known = {run.id: run for run in read_runs(self.store, list(old.values()))}
        return [
            entry._replace(how="reuse", detail=old[index])
            if entry.how == "run" and _same(known.get(old[index]), spec, entry, before)
            else entry
            for index, entry in enumerate(entries, first)
        ]

    def _hangs_on_fresh(self, flow: Flow, name: str) -> bool:
        """Return whether a step depends on a step that ran again, since it had used that step's former results."""
        step = self.job.steps[name]
        used = (*step.needs, *_steps_in([step.if_, step.each, step.params, step.kwargs, step.env]))
        return any(need not in flow.progress.steps or flow.progress.steps[need].fresh for need in used)


def _same(run: Run | None, spec: JobSpec, entry: StepEntry, flow: str) -> bool:
    return (
        run is not None
        and run.flow == flow
        and run.state is State.SUCCESS
        and not run.result_expired
        and run.spec_digest == spec.digest
        and write_params(run.params) == write_params(entry.params)
    )


def _nothing(step: Step, job: JobSpec, name: str) -> JobSpec:
    """Return the job for runs without a worker: approvals, and runs that end at once."""
    approval = {"approval": {"within": step.approval.within}} if step.approval is not None else {}
    spec = JobSpec(name=step.job or step_job(job.name, name), flow=job.name, step=name)
    return replace(spec, digest=digest_of(approval))


def _id(flow: Flow, step: Step, name: str, index: int) -> str:
    return step_run_id(flow.id, name, None if step.each is None else index)


def _made(flow: Flow, name: str) -> int:
    known = flow.progress.steps.get(name)
    return known.made if known is not None else 0


def _level(flow: Flow) -> int:
    level = flow.record.get("level", "")
    return int(level) if level.isascii() and level.isdigit() and len(level) < 4 else 1


def _steps_in(values: Sequence[Any]) -> list[str]:
    """Return the steps in the placeholders of templates."""
    found = (name.split(".") for value in values for _, name in placeholders(value))
    return list(dict.fromkeys(parts[1] for parts in found if parts[0] == "steps" and len(parts) > 1))


def _message_of(error: Exception) -> str:
    if isinstance(error, Unset):
        return f"${{env.{error.args[0]}}} is not set"
    return str(error)
