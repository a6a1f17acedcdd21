"""Durations, sizes, the retry policy and the states of a run: pure, so tested by value."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.duration import format_duration, format_size, parse_duration, parse_size
from runner.model.retry import GiveUp, RetryAt, RetryPolicy
from runner.model.run import FINAL, TRANSITIONS, Run, State, to_datetime, to_timestamp
from tests.support.run_document import FIELDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("0s", 0),
        ("1m1m", 120),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("30", "30 has no unit, write 30s, 30m or 30h"),
        ("1:30", "1:30 is not a duration, write 90m or 1h30m"),
        ("", "'' is not a duration, write a number with a unit, such as 90s, 15m, 1h30m, or 2d"),
        ("5 m", "'5 m' is not a duration, write a number with a unit, such as 90s, 15m, 1h30m, or 2d"),
        ("-5m", "'-5m' is not a duration, write a number with a unit, such as 90s, 15m, 1h30m, or 2d"),
        ("5m\n", "'5m\\n' is not a duration, write a number with a unit, such as 90s, 15m, 1h30m, or 2d"),
        ("11y", "'11y' is not a duration, write a number with a unit, such as 90s, 15m, 1h30m, or 2d"),
        ("4000d", "4000d is longer than ten years, write a shorter duration"),
    ],
)
def test_what_is_no_duration(text: str, advice: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_duration(text)
    assert str(raised.value) == advice


@given(st.integers(0, 10 * 365 * 86_400_000 // 2))
def test_durations_written_are_read_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(1, 2**40))
def test_sizes_written_are_read_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_what_is_no_size() -> None:
    for text in ("64", "1.5MiB", "-1B", "1B\n", "1TiB"):
        with pytest.raises(ValueError, match="is not a size, write a whole number with B, KiB, MiB, or GiB"):
            parse_size(text)


@pytest.mark.parametrize("text", ["512MB", "512 MiB", "512Mi", "512M", "512m", "512mb"])
def test_a_size_as_other_tools_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a size, write 512MiB$"):
        parse_size(text)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        ("constant", [10, 10, 10, 10, 10]),
        ("linear", [10, 20, 30, 40, 45]),
        ("exponential", [10, 20, 40, 45, 45]),
    ],
)
def test_delays_before_retries(backoff: str, delays: list[float]) -> None:
    policy = RetryPolicy(max_retries=9, delay=10, backoff=backoff, max_delay=45, jitter=False)  # type: ignore[arg-type]
    assert [policy.delay_before(retry) for retry in range(1, 6)] == delays
    assert policy.delay_before(10_000) <= 45


@given(st.floats(0, 10_000), st.integers(1, 1000))
def test_jitter_stays_in_its_bounds(delay: float, retry: int) -> None:
    policy = RetryPolicy(max_retries=1, delay=delay)
    base = policy.base_delay(retry)
    lowest = policy.delay_before(retry, lambda low, high: low)
    highest = policy.delay_before(retry, lambda low, high: high)
    assert highest == base
    assert lowest == min(base, max(1, 0.1 * base))
    assert lowest <= policy.delay_before(retry) <= highest


def test_what_follows_a_failed_attempt() -> None:
    policy = RetryPolicy(max_retries=2, delay=10, backoff="constant", jitter=False)

    def decide(
        policy: RetryPolicy, retries: int = 0, retryable: bool = True, expires_at: float | None = None
    ) -> object:
        return policy.decide(retries=retries, retryable=retryable, now=1000, expires_at=expires_at)

    assert decide(policy) == RetryAt(10)
    assert decide(policy, retries=1, expires_at=1010) == RetryAt(10)
    assert decide(policy, retries=2) == GiveUp("all 2 retries are used")
    assert decide(policy, retryable=False) == GiveUp("retry.for or retry.not_for excludes the error")
    assert decide(policy, expires_at=1009) == GiveUp("the retry would be due after the run expires")
    assert decide(replace(policy, max_retries=0)) == GiveUp("the job has no retries")


def test_transitions() -> None:
    assert {state for state in State if not TRANSITIONS[state]} == set(FINAL)
    assert TRANSITIONS[State.STARTED] == {State.SUCCESS, State.FAILURE, State.REVOKED, State.RETRY}


def test_the_run_document_has_exactly_these_fields() -> None:
    document = Run(id="x", job="j", state=State.PENDING).document()
    assert list(document) == FIELDS


@given(st.integers(0, 4_000_000_000_000))
def test_times_are_written_with_milliseconds(moment: int) -> None:
    text = to_timestamp(moment)
    assert text is not None
    assert text.endswith("Z")
    assert round(to_datetime(text).timestamp() * 1000) == moment
    assert to_timestamp(None) is None
