"""Read what RabbitMQ sends, whatever the properties of a message are.

py-amqp raises where it cannot decode them: text that is not UTF-8, a time out of range, tables nested too deep. That
would end the connection, and RabbitMQ would send the same message again.
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
"""Its type, its channel, and its payload."""

_HEADER = 2
_BEFORE_PROPERTIES = 12
"""Bytes of a header frame: class, weight, and the size of the body."""
_NO_PROPERTIES = b"\0\0"


def read_frames(connection: Connection, callback: Callable[..., None]) -> Callable[[Frame], bool]:
    """Return py-amqp's reader of frames; a message with unreadable properties arrives without any."""
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
        # Called here, so that its own errors are not taken for those of the message.
        while whole:
            callback(*whole.pop(0))
        return done

    return on_frame
