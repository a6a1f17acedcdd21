"""A fleet on three hosts, 20 ms apart: a partition, lost packets, a clock that is moved, a failover."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.fault.verdict import Row, details
from tests.support.network import need_namespaces
from tests.system.hosts import Fleet, Size, attack, fail_over, three_hosts

pytestmark = [pytest.mark.long, pytest.mark.redis_server]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path, for the sockets in it."""
    need_namespaces()
    found = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))
    yield found
    shutil.rmtree(found)


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Iterator[Fleet]:
    (folder / "one").mkdir()
    with three_hosts(folder / "one") as found:
        yield found


def size() -> Size:
    return Size(runs=120, seconds=2.0, random=Random(2))


def kept(row: Row) -> Row:
    assert row.kept, details(row)
    return row


def test_a_run_costs_one_round_trip(fleet: Fleet) -> None:
    row = kept(attack(fleet, "drain", size()))
    [fact] = [fact for fact in row.facts if fact.endswith("scripts a run")]
    # With two for each run, it would be 2 and more; the beats of both workers are among them.
    assert float(fact.split()[0]) < 1.9, row.facts


def test_a_worker_that_is_cut_off(fleet: Fleet) -> None:
    kept(attack(fleet, "partition", size()))
    assert fleet.network.cut == set()


def test_lost_packets(fleet: Fleet) -> None:
    kept(attack(fleet, "loss", size()))
    assert fleet.network.dropped


def test_a_clock_that_is_moved(fleet: Fleet) -> None:
    row = kept(attack(fleet, "clock", size()))
    # Redis' clock is the clock, so no lease is lost by it.
    assert not any("attempts lost" in fact for fact in row.facts), row.facts


def test_a_failover(folder: Path) -> None:
    (folder / "two").mkdir()
    kept(fail_over(folder / "two", size()))
