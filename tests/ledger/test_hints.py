"""With RabbitMQ, whoever queues a run notes its hint in the same step; whoever publishes it takes it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from runner.ledger.hint import Hint
from runner.ledger.hints import count_hints, leave_to_workers, note_done, take_due
from runner.ledger.ledger import Ledger
from runner.ledger.scripts import source, uses
from runner.settings import Settings
from tests.ledger.test_scripts import SHARED
from tests.support.bench import Bench

AMQP = SHARED.parent / "amqp"


class Kept:
    """A courier that keeps what it is to hand over, and says what was not confirmed."""

    def __init__(self, *, confirms: bool = True) -> None:
        self.asked: list[Hint] = []
        self.confirms = confirms
        self.trouble = "" if confirms else "RabbitMQ is on fire"

    def hand_over(self, hints: Sequence[Hint]) -> Sequence[Hint]:
        self.asked += hints
        return () if self.confirms else hints

    def close(self) -> None:
        pass


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    # No RabbitMQ is asked: scripts know only that there is one.
    ledger = Ledger.open(replace(settings, broker_url="amqp://127.0.0.1:1/"))
    yield Bench(ledger)
    ledger.close()


def noted(bench: Bench) -> dict[str, float]:
    found: Any = bench.ledger.client.zrange(bench.ledger.keys.hints, 0, -1, withscores=True)
    return {str(text): float(score) for text, score in found}


def rings(bench: Bench, key: str) -> int:
    return int(bench.ledger.client.llen(key))


def test_a_submission_notes_a_hint_and_keeps_it_for_the_submitter(bench: Bench) -> None:
    before = bench.now()
    run = bench.submit(queue="reports", priority=7)
    ((text, due),) = noted(bench).items()
    assert Hint.read(text) == Hint(run.id, "reports", 7)
    assert Hint(run.id, "reports", 7).write() == text
    assert due >= before * 1000 + 10_000 - 1
    assert take_due(bench.ledger) == []
    assert rings(bench, bench.ledger.keys.hints_ring) == 0
    assert rings(bench, bench.ledger.keys.ring("reports")) == 0


def test_what_nobody_submits_now_is_due_at_once_and_rings(bench: Bench) -> None:
    run = bench.submit(delay=300.0)
    assert noted(bench) == {}
    bench.make_due(run.id)
    bench.beat()
    assert take_due(bench.ledger) == [Hint(run.id, run.queue, run.priority)]
    assert rings(bench, bench.ledger.keys.hints_ring) == 1


def test_a_hint_is_lent_and_due_again_unless_it_is_done_with(bench: Bench) -> None:
    runs = [bench.submit() for _ in range(3)]
    hints = [Hint(run.id, run.queue, run.priority) for run in runs]
    leave_to_workers(bench.ledger, hints)
    assert set(take_due(bench.ledger)) == set(hints)
    assert take_due(bench.ledger) == []
    note_done(bench.ledger, hints[:2])
    assert set(noted(bench)) == {hints[2].write()}
    leave_to_workers(bench.ledger, hints)
    assert take_due(bench.ledger) == hints[2:]
    assert take_due(bench.ledger, done=hints[2:]) == []
    assert count_hints(bench.ledger) == (0, 0)


def test_what_is_no_hint_is_taken_out(bench: Bench) -> None:
    run = bench.submit()
    forged = ['{"id":"x","queue":"a\\"b","priority":5}', "x", '{"id":"","queue":"q","priority":"9"}']
    bench.ledger.client.zadd(bench.ledger.keys.hints, dict.fromkeys(forged, 0))
    leave_to_workers(bench.ledger, [Hint(run.id, run.queue, run.priority)])
    assert take_due(bench.ledger) == [Hint(run.id, run.queue, run.priority)]
    assert len(noted(bench)) == 1


def test_the_queue_of_a_runner_run_rings_in_redis(bench: Bench) -> None:
    courier = bench.ledger.courier = Kept()
    bench.submit(queue="run-0123abcd")
    bench.submit(queue="run-0123abcd-2")
    assert rings(bench, bench.ledger.keys.ring("run-0123abcd")) == 1
    assert [hint.queue for hint in courier.asked] == ["run-0123abcd-2"]
    assert len(noted(bench)) == 1


def test_a_beat_says_how_many_runs_wait_in_the_queues_of_its_worker(bench: Bench) -> None:
    for queue in ("default", "default", "reports", "celery"):
        bench.submit(queue=queue)

    def waiting(queues: str) -> int:
        return bench.ledger.beat(worker="w1", keep=15.0, lease=3.0, record={"queues": queues}).waiting

    assert waiting("default") == 3
    assert waiting("default,reports") == 4
    assert waiting("other") == 1


def test_only_what_is_in_a_queue_is_handed_over(bench: Bench) -> None:
    courier = bench.ledger.courier = Kept()
    run = bench.submit()
    bench.submit(delay=60.0)
    assert [hint.id for hint in courier.asked] == [run.id]


def test_on_redis_nothing_is_noted(settings: Settings) -> None:
    ledger = Ledger.open(settings)
    try:
        bench = Bench(ledger)
        run = bench.submit()
        assert noted(bench) == {}
        assert rings(bench, ledger.keys.ring(run.queue)) == 1
        assert bench.beat().waiting == 0
    finally:
        ledger.close()


@pytest.mark.parametrize("name", sorted(path.stem for path in AMQP.glob("*.lua")))
def test_a_part_for_rabbitmq_defines_what_scripts_use_of_the_other(name: str) -> None:
    assert (SHARED / f"{name}.lua").exists()
    assert uses((AMQP / f"{name}.lua").read_text())


@pytest.mark.parametrize("name", ["submit", "take", "beat", "advance", "retry"])
def test_a_project_on_redis_runs_none_of_it(name: str) -> None:
    text = source("runner.ledger", name)
    assert "HINTS" not in text
    assert "@hints" not in text
    assert text != source("runner.ledger", name, hints=True)


def test_a_submission_holds_its_hints_and_nothing_else_does() -> None:
    assert "local HINTS_HELD = 10000" in source("runner.ledger", "submit", hints=True)
    assert "local HINTS_HELD = 10000" in source("runner.ledger", "submit_many", hints=True)
    assert "local HINTS_HELD = 0" in source("runner.ledger", "beat", hints=True)
