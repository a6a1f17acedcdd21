"""A tick that is cut off at each of its commands: the next one completes it, and no slot has two runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.errors import Unavailable
from runner.ledger.ledger import Ledger
from runner.settings import load_settings
from tests.fault.server import RedisServer
from tests.ledger.schedules import Place
from tests.support.proxy import Command, Proxy, Verdict

HOUR = 3_600_000
JOBS = """
one: {schedule: {every: 1h, <<: *all}}
two: {schedule: {every: 30m, <<: *all}}
three: {schedule: {every: 1h, catchup: none}}
off-duty: {enabled: false, schedule: {every: 1h}}
"""


class Cutter:
    """Cuts the connection at command number ``at`` (from 0), and with ``for_good`` at all that follow."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.verdict: Verdict = "pass"
        self.for_good = False
        self.seen = 0

    def __call__(self, command: Command) -> Verdict:
        number, self.seen = self.seen, self.seen + 1
        hit = self.at is not None and (number == self.at or (self.for_good and number > self.at))
        return self.verdict if hit else "pass"


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[tuple[Place, Ledger, Ledger, Cutter]]:
    cutter = Cutter()
    (tmp_path / "project" / "jobs.d").mkdir(parents=True)
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port), cutter) as proxy:

        def ledger(port: int) -> Ledger:
            environ = {"RUNNER_REDIS_URL": f"redis://127.0.0.1:{port}/0", "RUNNER_NAMESPACE": "cut"}
            return Ledger.open(load_settings(tmp_path / "project", environ=environ))

        direct, broken = ledger(server.port), ledger(proxy.port)
        yield Place(tmp_path / "place", direct.settings, direct), direct, broken, cutter
        direct.close()
        broken.close()


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for-good"])
def test_a_tick_cut_off_at_each_command(cut: tuple[Place, Ledger, Ledger, Cutter], for_good: bool) -> None:
    place, direct, broken, cutter = cut
    place.write(JOBS)
    begin = place.now
    place.tick()
    cuts = 0
    for verdict in ("cut-before", "cut-after"):
        for number in range(100):
            place.now += HOUR
            place.ledger = broken
            cutter.at, cutter.verdict, cutter.for_good, cutter.seen = number, verdict, for_good, 0  # type: ignore[assignment]
            with contextlib.suppress(Unavailable):
                place.tick()
            reached = cutter.seen > number
            place.ledger, cutter.at = direct, None
            place.tick()
            if not reached:
                break
            cuts += 1
        else:
            raise AssertionError("a tick has no end")
    assert cuts >= 10
    hours = (place.now - begin) // HOUR
    for name, step in (("one", HOUR), ("two", HOUR // 2), ("three", HOUR)):
        expected = [begin + step * number for number in range(1, hours * HOUR // step + 1)]
        assert place.slots(name) == [datetime.fromtimestamp(each / 1000, UTC) for each in expected], name
    assert place.runs("off-duty") == []
