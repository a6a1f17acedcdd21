"""The memory of process groups, with real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator

import pytest

from runner.process import memory
from runner.process.memory import Process, family, memory_of, own_memory, process_table, pss, rss
from tests.support.deadline import wait_until
from tests.support.holders import MIB, Holder, child, holders

linux = pytest.mark.skipif(sys.platform != "linux", reason="told from /proc")


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    with holders() as start:
        yield start


def group_memory(pgid: int) -> int:
    """Return the bytes that process group ``pgid`` and all that it has started hold."""
    found = process_table()
    return memory_of(family(found, {pgid}), found)


# -- who belongs to a run: pure


TABLE = {
    10: Process(1, 10, 0),  # the leader
    11: Process(10, 10, 0),
    12: Process(11, 12, 0),  # a group of its own
    13: Process(1, 12, 0),  # an orphan in that group
    14: Process(1, 10, 0),  # an orphan in the leader's group
    20: Process(1, 20, 0),
    21: Process(20, 20, 0),
}


def test_a_family_is_the_group_what_it_started_and_the_groups_that_these_lead() -> None:
    assert family(TABLE, {10}) == {10, 11, 12, 13, 14}
    assert family(TABLE, {20}) == {20, 21}
    assert family(TABLE, {30}) == set()


def test_a_process_that_has_joined_a_group_of_others_does_not_bring_them() -> None:
    assert family({**TABLE, 15: Process(10, 20, 0)}, {10}) == {10, 11, 12, 13, 14, 15}


# -- what it holds


def test_the_memory_of_a_process_that_allocates(hold: Callable[..., Holder]) -> None:
    holder = hold()
    before = group_memory(holder.pid)
    holder.do("hold(100)")
    grown = group_memory(holder.pid) - before
    assert 95 * MIB < grown < 115 * MIB


def test_what_is_reserved_and_not_used_does_not_count(hold: Callable[..., Holder]) -> None:
    holder = hold()
    before = group_memory(holder.pid)
    holder.do("held.append(mmap.mmap(-1, 500 << 20))")
    assert group_memory(holder.pid) - before < 10 * MIB


@pytest.mark.parametrize("options", [{}, {"start_new_session": True}], ids=["same group", "own session"])
def test_the_memory_of_its_children_counts(hold: Callable[..., Holder], options: dict[str, object]) -> None:
    holder = hold()
    before = group_memory(holder.pid)
    holder.do(child(60, **options))
    assert 55 * MIB < group_memory(holder.pid) - before < 90 * MIB


@linux
def test_shared_memory_counts_once(hold: Callable[..., Holder]) -> None:
    """Four processes after a fork share what was there before: by RSS they would hold four times as much."""
    holder = hold()
    holder.do("hold(80)")
    holder.do("pids = [pid for pid in [os.fork() for _ in range(2)]]")
    members = wait_until(lambda: len(found := family(process_table(), {holder.pid})) == 4 and found)
    table = process_table()
    assert sum(table[pid].rss for pid in members) > 320 * MIB
    assert group_memory(holder.pid) < 160 * MIB


@linux
def test_the_supervisor_of_a_process_does_not_count(hold: Callable[..., Holder]) -> None:
    holder = hold("from runner.process.group import guard\n")
    holder.do("guard(os.getpgrp())")
    assert family(process_table(), {holder.pid}) == {holder.pid}


def test_a_group_that_is_gone_holds_nothing(hold: Callable[..., Holder]) -> None:
    holder = hold()
    holder.end()
    assert group_memory(holder.pid) == 0
    assert rss(holder.pid) == 0
    assert pss(holder.pid) is None


def test_the_processes_by_ps_are_those_of_proc(hold: Callable[..., Holder]) -> None:
    """As on macOS."""
    holder = hold()
    holder.do("hold(50)")
    holder.do(child(20))
    listed, table = memory._from_ps(), process_table()
    assert family(listed, {holder.pid}) == family(table, {holder.pid})
    assert listed[holder.pid].rss > 50 * MIB


def test_a_name_with_spaces_and_parentheses_does_not_confuse(hold: Callable[..., Holder]) -> None:
    holder = hold()
    if sys.platform == "linux":
        holder.do("open('/proc/self/comm', 'w').write('a) R 1 1 (b')")
    assert process_table()[holder.pid].parent == os.getpid()


def test_own_memory() -> None:
    assert own_memory() > 5 * MIB
