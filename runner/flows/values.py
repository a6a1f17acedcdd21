"""The values of a step's item and of its needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final, Protocol

from runner._dataclass import dataclass
from runner.model.value_path import NoValue, read_value_path

__all__ = ["NO_ITEM", "NoValue", "StepValue", "StepValues", "Values", "look_up"]


class _NoItem:
    def __repr__(self) -> str:
        return "NO_ITEM"


NO_ITEM: Final = _NoItem()
"""The placeholder item of a step without ``each``, because an item may be null."""


class StepValue(Protocol):
    """The results of a step; the attributes may be read from the ledger on demand."""

    @property
    def result(self) -> Any:
        """Return the result of its only run; None if the run has not succeeded."""

    @property
    def results(self) -> list[Any]:
        """Return the results of its runs in the order of the items, with None for runs that have not succeeded."""

    @property
    def state(self) -> str:
        """Return SUCCESS, FAILURE, or REVOKED."""


@dataclass(frozen=True, slots=True)
class StepValues:
    """The results of a step in memory."""

    result: Any = None
    results: list[Any] = field(default_factory=list)
    state: str = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Values:
    """The values for one step run."""

    item: Any = NO_ITEM
    steps: Mapping[str, StepValue] = field(default_factory=dict)


def look_up(name: str, values: Values) -> Any:
    """Return the value of ``${name}``, such as ``steps.load.result.rows[0]`` or ``item.region``.

    Raises:
        NoValue: there is no such value; the message names the missing part.
    """
    path = read_value_path(name)
    if path is None:
        raise NoValue(f"${{{name}}}: there is no such value in a flow")
    if path.step is None:
        if values.item is NO_ITEM:
            raise NoValue(f"${{{name}}}: the step has no each, so it has no item")
        return path.lead(values.item)
    step = values.steps.get(path.step)
    if step is None:
        raise NoValue(f"${{{name}}}: step {path.step} is not known here, add it to needs")
    if path.of == "state":
        return str(step.state)
    return path.lead(step.results if path.of == "results" else step.result)
