"""Events are followed without loss or repetition, through lost connections and lost data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runner.errors import Unavailable, UsageError
from runner.ledger.events import Event, Events, Gap
from tests.support.bench import Bench


def until(found: Iterator[Event | Gap | None], count: int) -> list[Event | Gap]:
    """Return ``count`` events and gaps."""
    shown: list[Event | Gap] = []
    for event in found:
        if event is not None:
            shown.append(event)
        if len(shown) == count:
            break
    return shown


def states(events: list[Event | Gap]) -> list[str]:
    return [event.state if isinstance(event, Event) else "gap" for event in events]


def test_each_transition_is_told_once_and_any_of_them_can_be_gone_on_after(bench: Bench) -> None:
    before = Events(bench.ledger)
    run = bench.submit()
    token = bench.start(run)
    bench.attempts.succeed(run.id, token, "1")
    shown = until(before.follow(), 3)
    assert states(shown) == ["PENDING", "STARTED", "SUCCESS"]
    assert [event.attempt for event in shown if isinstance(event, Event)] == [0, 1, 1]
    first = shown[0]
    assert isinstance(first, Event)
    assert first.document()["id"] == run.id
    assert until(Events(bench.ledger, first.event).follow(), 2) == shown[1:]
    assert until(Events(bench.ledger, "0").follow(), 3) == shown
    late = bench.submit()
    assert [event.id for event in until(before.follow(), 1) if isinstance(event, Event)] == [late.id]


def test_nothing_is_lost_where_connections_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(bench.ledger)
    real, calls = events._read, iter(range(1000))
    runs = []

    def breaks() -> list[tuple[str, dict[str, str]]]:
        if next(calls) % 2:
            # What comes while nobody is connected.
            runs.append(bench.submit().id)
            raise Unavailable("gone")
        return real()

    monkeypatch.setattr(events, "_read", breaks)
    runs.append(bench.submit().id)
    shown = until(events.follow(), 4)
    assert [event.id for event in shown if isinstance(event, Event)] == runs[:4]


def test_more_events_than_are_kept_are_a_gap(bench: Bench) -> None:
    bench.submit()
    events = Events(bench.ledger)
    run = bench.submit()
    assert states(until(events.follow(), 1)) == ["PENDING"]
    bench.ledger.revoke(run.id, by=None)
    kept = bench.submit()
    bench.ledger.client.xtrim(f"{bench.ledger.namespace}:events", maxlen=1, approximate=False)
    resumed = Events(bench.ledger, events.last)
    gap, event = until(resumed.follow(), 2)
    assert isinstance(gap, Gap)
    assert isinstance(event, Event)
    assert event.id == kept.id


def test_a_stream_that_was_lost_begins_anew(bench: Bench) -> None:
    bench.submit()
    events = Events(bench.ledger)
    bench.ledger.client.delete(f"{bench.ledger.namespace}:events")
    # Ids of events are times: the new ones are later.
    bench.wait_until(lambda: bench.now() * 1000 > int(events.last.partition("-")[0]) + 2)
    run = bench.submit()
    gap, event = until(events.follow(), 2)
    assert isinstance(gap, Gap)
    assert isinstance(event, Event)
    assert event.id == run.id


def test_patience_ends(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    events = Events(bench.ledger)

    def fails(*_: Any, **__: Any) -> Any:
        raise Unavailable("gone")

    monkeypatch.setattr(events, "_read", fails)
    with pytest.raises(Unavailable):
        next(events.follow(patience=0.0))


@pytest.mark.parametrize("after", ["", "x", "-", "1-", "1-x", "$", "0x1"])
def test_what_is_no_event_is_refused(bench: Bench, after: str) -> None:
    with pytest.raises(UsageError):
        Events(bench.ledger, after)
