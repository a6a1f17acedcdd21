"""Values that a step takes from its item and from the steps that it needs."""

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
"""The item of a step without ``each``; an item may be null."""


class StepValue(Protocol):
    """What a step has brought; the attributes may be read from the ledger when they are asked for."""

    @property
    def result(self) -> Any:
        """The result of its only run; None if that has not succeeded."""

    @property
    def results(self) -> list[Any]:
        """The results of its runs in the order of the items, None where one has not succeeded."""

    @property
    def state(self) -> str:
        """SUCCESS, FAILURE, or REVOKED."""


@dataclass(frozen=True, slots=True)
class StepValues:
    """What a step has brought, held in memory."""

    result: Any = None
    results: list[Any] = field(default_factory=list)
    state: str = "SUCCESS"


@dataclass(frozen=True, slots=True)
class Values:
    """The values that are known to one step run."""

    item: Any = NO_ITEM
    steps: Mapping[str, StepValue] = field(default_factory=dict)


def look_up(name: str, values: Values) -> Any:
    """Return the value of ``${name}``, such as ``steps.load.result.rows[0]`` or ``item.region``.

    Raises:
        NoValue: it does not lead to a value; the message names it, and the part that is not there.
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
