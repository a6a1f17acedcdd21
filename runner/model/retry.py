"""The retry policy of a job. Pure: it decides whether a failed attempt is retried, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from runner._dataclass import dataclass
from runner.model.option import Choice, Duration, Flag, Integer, ListOf, Text, option

Backoff = Literal["constant", "linear", "exponential"]

JITTER_FLOOR_SECONDS = 1.0
JITTER_FLOOR_SHARE = 0.1

EXCEPTION_NAME = Text(
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*([.:][A-Za-z_][A-Za-z0-9_]*)*$",
    advice="name an exception class, such as ConnectionError or requests.Timeout",
)


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Retry in ``delay`` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Do not retry; ``why`` completes the sentence "not retried: …"."""

    why: str


Decision = RetryAt | GiveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The ``retry:`` section of a job. Durations are seconds."""

    max_retries: int = option(
        Integer(0, 1000), default=0, help="Retries after the first attempt; 0 means none.", examples=(5,)
    )
    delay: float = option(Duration(), default=10.0, help="The delay before the first retry.", examples=("10s",))
    backoff: Backoff = option(
        Choice(("constant", "linear", "exponential")),
        default="exponential",
        help="How the delay grows: constant, linear (1, 2, 3 times delay), or exponential (1, 2, 4, 8 times delay).",
    )
    max_delay: float = option(Duration(), default=600.0, help="The longest delay.", examples=("10m",))
    jitter: bool = option(
        Flag(),
        default=True,
        help="Full jitter: wait for a random part of the delay, at least 1 s and a tenth of it.",
    )
    for_: tuple[str, ...] = option(
        ListOf(EXCEPTION_NAME, unique=True),
        default=(),
        key="for",
        help="Retry only after these exceptions and their subclasses; by default, after every Exception.",
        examples=(["ConnectionError", "requests.Timeout"],),
    )
    not_for: tuple[str, ...] = option(
        ListOf(EXCEPTION_NAME, unique=True),
        default=(),
        help="Never retry after these exceptions and their subclasses.",
        examples=(["ValueError"],),
    )

    def base_delay(self, retry: int) -> float:
        """Return the seconds before retry number ``retry``, counted from 1: at most ``max_delay``, without jitter."""
        if self.backoff == "constant":
            delay = self.delay
        elif self.backoff == "linear":
            delay = self.delay * retry
        else:
            delay = self.delay * 2.0 ** min(retry - 1, 63)
        return min(delay, self.max_delay)

    def delay_before(self, retry: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Return the seconds before retry number ``retry``, jitter included.

        This is the full jitter of "Exponential Backoff And Jitter" (AWS Architecture Blog) with a minimum, so that no
        retry comes at once: 1 s or a tenth of the delay, whichever is longer, but never longer than the delay.
        """
        delay = self.base_delay(retry)
        if not self.jitter:
            return delay
        floor = min(delay, max(JITTER_FLOOR_SECONDS, JITTER_FLOOR_SHARE * delay))
        return uniform(floor, delay)

    def decide(
        self,
        *,
        retries: int,
        retryable: bool,
        now: float,
        expires_at: float | None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> Decision:
        """Return whether a failed attempt is retried, and when.

        Args:
            retries: the number of retries so far.
            retryable: whether ``for`` and ``not_for`` allow a retry after this error.
            now: Unix time in seconds.
            expires_at: Unix time in seconds after which the run may not start, or None.
            uniform: the source of the jitter, with the signature of ``random.uniform``.
        """
        if self.max_retries == 0:
            return GiveUp("the job has no retries")
        if not retryable:
            return GiveUp("retry.for or retry.not_for excludes the error")
        if retries >= self.max_retries:
            return GiveUp(f"all {self.max_retries} retries are used")
        delay = self.delay_before(retries + 1, uniform)
        if expires_at is not None and now + delay > expires_at:
            return GiveUp("the retry would be due after the run expires")
        return RetryAt(delay)
