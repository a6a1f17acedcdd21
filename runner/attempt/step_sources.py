"""The values of placeholders in a step's task: ``${item…}`` and ``${steps…}`` in addition to those of every job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from runner._dataclass import dataclass
from runner.attempt.state import Attempt
from runner.catalog.steps import ITEM
from runner.flows.values import NO_ITEM, StepValue, Values, look_up
from runner.ledger.flows import read_results
from runner.model.job import JobSpec
from runner.model.template import Sources, placeholders
from runner.model.value_path import read_value_path


@dataclass(frozen=True, slots=True)
class StepSources(Sources):
    """The sources of a step's run."""

    values: Values = field(default_factory=Values)

    def look_up(self, name: str) -> Any:
        """Return the value of ``${name}``.

        Raises:
            Unset: it is an environment variable that is not set.
            NoValue: the item or the result has no such value.
            Unavailable: Redis cannot be reached for the result of another step.
        """
        # Not super(): a dataclass with slots is a new class.
        return Sources.look_up(self, name) if read_value_path(name) is None else look_up(name, self.values)


def sources_of(job: JobSpec, attempt: Attempt, params: Mapping[str, Any], env: Mapping[str, str]) -> Sources:
    """Return the sources of an attempt.

    Raises:
        Unavailable: Redis cannot be reached for the flow of a step.
    """
    started = attempt.started
    assert started is not None
    run_id, slot = attempt.taken.run_id, started.slot
    if job.step is None or started.flow is None:
        return Sources(run_id, slot, params, env)
    item = NO_ITEM if started.flow.item is None else params.get(ITEM)
    steps: Mapping[str, StepValue] = {}
    if _names_steps(job):
        steps = read_results(attempt.shared.ledger, started.flow.id)
    return StepSources(run_id, slot, params, env, Values(item, steps))


def _names_steps(job: JobSpec) -> bool:
    return any(name.startswith("steps.") for value in (job.kwargs, job.env) for _, name in placeholders(value))
