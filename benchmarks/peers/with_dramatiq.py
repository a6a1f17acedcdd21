"""An actor of dramatiq that stores its results."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import url_of

broker = RedisBroker(url=url_of("dramatiq"))
broker.add_middleware(Results(backend=RedisBackend(url=url_of("dramatiq"))))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop() -> int:
    """Do nothing."""
    return 1
