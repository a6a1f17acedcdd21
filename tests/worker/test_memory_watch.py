"""Runs that hold more memory than their jobs allow are found, with real processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

import pytest

from runner.model.job import JobSpec
from runner.process.memory import family, process_table, rss
from runner.worker.memory_watch import MemoryWatch
from tests.support.deadline import wait_until
from tests.support.holders import MIB, Holder, child, holders


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    with holders() as start:
        yield start


def job(limit: int | None) -> JobSpec:
    return JobSpec(name="a", task="a:b", memory=limit)


def test_a_run_below_its_limit_is_left_alone_and_one_above_is_told_once(hold: Callable[..., Holder]) -> None:
    watch, below, above, free = MemoryWatch(), hold(), hold(), hold()
    bounded, unbounded = job(100 * MIB), job(None)
    held = [(below.pid, bounded, "below"), (above.pid, bounded, "above"), (free.pid, unbounded, "free")]
    assert watch.look(held) == []
    for holder, mib in ((below, 50), (above, 150), (free, 150)):
        holder.do(f"hold({mib})")
    exceeded = wait_until(lambda: watch.look(held))
    assert [(run.pid, run.job, run.token) for run in exceeded] == [(above.pid, bounded, "above")]
    assert 150 * MIB < exceeded[0].peak < 180 * MIB
    assert watch.look(held) == []


def test_growth_is_seen_at_once(hold: Callable[..., Holder]) -> None:
    """However recently the process table was read."""
    watch, holder = MemoryWatch(), hold()
    held = [(holder.pid, job(100 * MIB), "one")]
    assert watch.look(held) == []
    holder.do("hold(150)")
    watch._read_at, watch._rest_until = float("inf"), 0.0
    assert [run.token for run in watch.look(held)] == ["one"]


def test_the_next_run_of_the_same_process_is_another_one(hold: Callable[..., Holder]) -> None:
    watch, holder = MemoryWatch(), hold()
    holder.do("hold(150)")
    assert wait_until(lambda: watch.look([(holder.pid, job(100 * MIB), "one")]))
    assert watch.look([(holder.pid, job(None), "two")]) == []
    holder.do("held.clear()")
    assert watch.look([(holder.pid, job(100 * MIB), "three")]) == []


def test_what_it_has_started_counts_although_its_starter_is_gone(hold: Callable[..., Holder]) -> None:
    """An orphan in a group of its own, whose leader has ended, was seen while there was a leader."""
    watch, holder = MemoryWatch(), hold()
    held = [(holder.pid, job(100 * MIB), "one")]
    leader = f"import os, sys, subprocess; {child(150)}; print(flush=True); sys.stdin.readline()"
    holder.do(
        f"leader = subprocess.Popen([sys.executable, '-c', {leader!r}], start_new_session=True, "
        "stdin=-1, stdout=-1); leader.stdout.readline()"
    )
    assert [run.token for run in wait_until(lambda: watch.look(held))] == ["one"]
    orphans = family(process_table(), {holder.pid}) - {holder.pid}
    holder.do("leader.communicate()")
    assert len(watch._runs["one"].members) == 3
    watch._read_at = 0.0
    watch.look(held)
    left = watch._runs["one"].members - {holder.pid}
    assert len(left) == 1
    assert left < orphans
    for pid in left:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="told from /proc")
def test_memory_that_processes_share_ends_no_run(hold: Callable[..., Holder]) -> None:
    """By RSS this run is above its limit all the time; its memory is measured, and not at each look."""
    watch, holder = MemoryWatch(), hold()
    held = [(holder.pid, job(150 * MIB), "one")]
    holder.do("hold(80)")
    holder.do("pids = [pid for pid in [os.fork() for _ in range(2)]]")
    wait_until(lambda: len(family(process_table(), {holder.pid})) == 4)
    assert watch.look(held) == []
    run = watch._runs["one"]
    assert 80 * MIB < run.peak < 150 * MIB
    assert run.allowance > sum(map(rss, run.members))


def test_a_run_that_has_ended_is_forgotten(hold: Callable[..., Holder]) -> None:
    watch, holder = MemoryWatch(), hold()
    watch.look([(holder.pid, job(100 * MIB), "one")])
    holder.end()
    assert watch.look([(holder.pid, job(100 * MIB), "one")]) == []
    assert watch.look([]) == []
    assert not watch._runs
