"""Read frames from RabbitMQ, even if the properties of a message cannot be decoded.

py-amqp raises an exception for text that is not UTF-8, a time out of range, or tables nested too deeply. That would end
the connection, and RabbitMQ would send the same message again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from amqp import Connection
from amqp.exceptions import UnexpectedFrame
from amqp.method_framing import frame_handler

log = logging.getLogger(__name__)

Frame = tuple[int, int, bytes | memoryview]
"""The type, channel, and payload of a frame."""

_HEADER = 2
_BEFORE_PROPERTIES = 12
"""The fixed part of a header frame: class, weight, and the size of the body."""
_NO_PROPERTIES = b"\0\0"


def read_frames(connection: Connection, callback: Callable[..., None]) -> Callable[[Frame], bool]:
    """Return a frame reader for py-amqp that delivers messages with unreadable properties without them."""
    whole: list[tuple[Any, ...]] = []
    read = frame_handler(connection, lambda *method: whole.append(method))

    def on_frame(frame: Frame) -> bool:
        try:
            done = bool(read(frame))
        except UnexpectedFrame:
            raise
        except Exception as error:
            kind, channel, payload = frame
            if kind != _HEADER:
                raise
            log.warning("the properties of a message cannot be read: %r", error)
            done = bool(read((kind, channel, bytes(payload[:_BEFORE_PROPERTIES]) + _NO_PROPERTIES)))
        # Called here so that errors of the callback are not mistaken for errors of the message.
        while whole:
            callback(*whole.pop(0))
        return done

    return on_frame
