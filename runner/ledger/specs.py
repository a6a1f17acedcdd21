"""Publish catalogs in Redis: once for all workers that share one, removed some time after the last of them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping

from runner.ledger.reach import reaching
from runner.ledger.store import Store

KEPT_SECONDS = 120
"""How long a catalog is kept after a worker said that it has it."""

UNKNOWN_JOB_PATIENCE = 300.0
"""Seconds that what needs a job is left to others by a process that does not know it: it may be behind on YAML."""


def keep_specs(store: Store, digest: str) -> bool:
    """Keep a catalog for :data:`KEPT_SECONDS` from now; False: it is not there.

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
    """Return a catalog as it was written, or None if no worker has it any more.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        packed = store.client.get(store.keys.specs(digest))
    return None if packed is None else zlib.decompress(base64.b64decode(str(packed))).decode()


def write_known(store: Store, digest: str, jobs: Mapping[str, str]) -> None:
    """Write which jobs ``take.lua`` may start for the workers that have this digest: names, and digests of specs.

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
    """Keep them for :data:`KEPT_SECONDS` from now; False: they are not there.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(store.settings):
        return bool(store.client.expire(store.keys.known(digest), KEPT_SECONDS))
