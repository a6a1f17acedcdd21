"""Publish catalogs in Redis: once for all workers with the same jobs, removed some time after the last of them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

from runner.ledger.reach import reaching
from runner.ledger.store import Store

KEPT_SECONDS = 120
"""Seconds that a catalog is kept after a worker has reported it."""

UNKNOWN_JOB_PATIENCE = 300.0
"""Seconds that a process leaves an entry for an unknown job to others, because its own YAML may be outdated."""


def keep_specs(store: Store, digest: str) -> bool:
    """Keep a catalog for another :data:`KEPT_SECONDS`; return False if it is not there.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        return bool(store.client.expire(store.keys.specs(digest), KEPT_SECONDS))


def write_specs(store: Store, digest: str, text: str) -> None:
    """Write a catalog.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    with reaching(store.settings):
        store.client.set(store.keys.specs(digest), packed, ex=KEPT_SECONDS)


def read_specs(store: Store, digest: str) -> str | None:
    """Return a catalog as it was written; None if no worker has it any longer.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        packed = store.client.get(store.keys.specs(digest))
    return None if packed is None else zlib.decompress(base64.b64decode(str(packed))).decode()


def write_known(store: Store, digest: str, jobs: Mapping[str, str]) -> None:
    """Write the jobs (names and digests of specs) that ``take.lua`` may start for workers with this digest.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    key = store.keys.known(digest)
    with reaching(store.settings), store.client.pipeline(transaction=True) as pipe:
        if jobs:
            pipe.hset(key, items=[part for pair in jobs.items() for part in pair])
        pipe.expire(key, KEPT_SECONDS)
        pipe.execute()


def keep_known(store: Store, digest: str) -> bool:
    """Keep these jobs for another :data:`KEPT_SECONDS`; return False if they are not there.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        return bool(store.client.expire(store.keys.known(digest), KEPT_SECONDS))
