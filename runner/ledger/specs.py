"""What workers run, in Redis: a catalog once for all workers that have it, gone some time after the last of them."""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

from runner.ledger.connection import reaching

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

KEPT_SECONDS = 120
"""How long a catalog is kept after a worker said that it has it."""


def key_of(ledger: Ledger, digest: str) -> str:
    """Return the key of a catalog by its digest."""
    return f"{ledger.namespace}:specs:{digest}"


def keep_specs(ledger: Ledger, digest: str) -> bool:
    """Keep a catalog for :data:`KEPT_SECONDS` from now; False: it is not there.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(ledger.settings):
        return bool(ledger.client.expire(key_of(ledger, digest), KEPT_SECONDS))


def write_specs(ledger: Ledger, digest: str, text: str) -> None:
    """Write a catalog.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    packed = base64.b64encode(zlib.compress(text.encode())).decode()
    with reaching(ledger.settings):
        ledger.client.set(key_of(ledger, digest), packed, ex=KEPT_SECONDS)


def read_specs(ledger: Ledger, digest: str) -> str | None:
    """Return a catalog as it was written, or None if no worker has it any more.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    with reaching(ledger.settings):
        packed = ledger.client.get(key_of(ledger, digest))
    return None if packed is None else zlib.decompress(base64.b64decode(str(packed))).decode()
