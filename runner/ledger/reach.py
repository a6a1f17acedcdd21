"""Convert connection errors to one error, without importing redis-py before there is one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runner.settings import Settings


@contextmanager
def reaching(settings: Settings) -> Iterator[None]:
    """Convert every error of redis-py in the block to :class:`~runner.errors.Unavailable`."""
    try:
        yield
    except Exception as error:
        redis = sys.modules.get("redis")
        if redis is None or not isinstance(error, redis.RedisError):
            raise
        from runner.ledger.translation import translate  # start-up time: imports redis-py, as whoever raised it has

        raise translate(error, settings.redis_url) from error
