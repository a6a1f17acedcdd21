"""Pack commands into bytes as redis-py does, but safe from signals."""

from __future__ import annotations

from typing import Any

from redis.connection import HiredisRespSerializer


class Packer(HiredisRespSerializer):
    """Gives hiredis no numbers, only text and bytes.

    hiredis (3.5.0, ``pack_command`` in ``src/pack.c``) takes the ``repr`` of a number without asking whether there is
    one. There is none if a signal has just come whose handler raises, as Ctrl-C, SIGTERM and a soft time limit do: it
    reads a null pointer, and the process dies by SIGSEGV. A contract test tells when that is mended.
    """

    def pack(self, *args: Any) -> list[bytes]:
        """Return the command as Redis reads it."""
        written: list[Any] = [str(arg) if type(arg) in (int, float) else arg for arg in args]
        try:
            packed: list[bytes] = super().pack(*written)
        except UnicodeEncodeError:
            # What was read from Redis and is no UTF-8; see `encoding_errors` of the connection.
            written = [arg.encode("utf-8", "surrogateescape") if isinstance(arg, str) else arg for arg in written]
            packed = super().pack(*written)
        return packed


PACKER = Packer()
"""For all connections; it holds nothing."""
