"""What waits for the clock does so while other tests run."""

from __future__ import annotations

import pytest

from tests.support.order import first


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 8])
def test_each_process_begins_with_what_waits(processes: int) -> None:
    waiting, others = ["a", "b", "c"], list(range(998))
    found = first(waiting, others, processes)
    assert sorted(map(str, found)) == sorted(map(str, [*waiting, *others]))
    assert [each for each in found if isinstance(each, int)] == others
    for number in range(min(processes, len(waiting))):
        # What xdist gives to the next process.
        size = len(found) // (processes - number)
        assert found[0] == waiting[number]
        del found[:size]


def test_few_tests_are_all_there() -> None:
    assert first(["a", "b"], [], 4) == ["a", "b"]
    assert first([], [1, 2], 4) == [1, 2]
