"""Pack commands into bytes like redis-py, but safely when signals arrive."""

from __future__ import annotations

from typing import Any

from redis.connection import HiredisRespSerializer


class Packer(HiredisRespSerializer):
    """Passes only text and bytes to hiredis, and no numbers.

    hiredis (3.5.0, ``pack_command`` in ``src/pack.c``) uses the ``repr`` of a number without checking for an error. If
    a signal handler raises at this moment (Ctrl-C, SIGTERM, a soft time limit), it reads a null pointer, and the
    process dies from SIGSEGV. A contract test fails when hiredis has corrected this.
    """

    def pack(self, *args: Any) -> list[bytes]:
        """Return the command in Redis' protocol."""
        written: list[Any] = [str(arg) if type(arg) in (int, float) else arg for arg in args]
        try:
            packed: list[bytes] = super().pack(*written)
        except UnicodeEncodeError:
            # Text from Redis that is not UTF-8; see `encoding_errors` of the connection.
            written = [arg.encode("utf-8", "surrogateescape") if isinstance(arg, str) else arg for arg in written]
            packed = super().pack(*written)
        return packed


PACKER = Packer()
"""Shared by all connections; it has no state."""
