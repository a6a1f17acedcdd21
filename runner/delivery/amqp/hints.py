"""Hints as messages of RabbitMQ."""

from __future__ import annotations

from amqp.basic_message import Message

from runner.ledger.hint import Hint

CONTENT_TYPE = "application/vnd.runner.hint+json"

EXPIRE_SECONDS = 60
"""How long RabbitMQ keeps a hint. A hint waits there only while no taker of its queue is idle, and a taker that becomes
idle has just asked the ledger, so an old hint tells nothing new. Without this, a fleet that is always busy, whose
takers ask by themselves, would leave a hint behind for each run that it ever performed."""


def write_hint(hint: Hint) -> Message:
    """Return the message of a hint."""
    return Message(
        hint.write(),
        content_type=CONTENT_TYPE,
        content_encoding="utf-8",
        delivery_mode=2,
        message_id=hint.id,
        expiration=str(EXPIRE_SECONDS * 1000),
    )


def read_hint(message: Message) -> Hint | None:
    """Return the hint that a message carries; None if it is none."""
    return Hint.read(message.body)


__all__ = ["CONTENT_TYPE", "EXPIRE_SECONDS", "Hint", "read_hint", "write_hint"]
