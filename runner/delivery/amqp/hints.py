"""Hints as RabbitMQ messages."""

from __future__ import annotations

from amqp.basic_message import Message

from runner.ledger.hint import Hint

CONTENT_TYPE = "application/vnd.runner.hint+json"

EXPIRE_SECONDS = 60
"""How long RabbitMQ keeps a hint. A hint waits only while all takers of its queue are busy. A taker that becomes idle
has just asked the ledger, so an old hint contains nothing new. Without an expiry, a fleet that is always busy would
leave a hint in RabbitMQ for every run, because its takers ask the ledger by themselves."""


def write_hint(hint: Hint) -> Message:
    """Return the message for a hint."""
    return Message(
        hint.write(),
        content_type=CONTENT_TYPE,
        content_encoding="utf-8",
        delivery_mode=2,
        message_id=hint.id,
        expiration=str(EXPIRE_SECONDS * 1000),
    )


def read_hint(message: Message) -> Hint | None:
    """Return the hint in a message; None if the message is not a hint."""
    return Hint.read(message.body)


__all__ = ["CONTENT_TYPE", "EXPIRE_SECONDS", "Hint", "read_hint", "write_hint"]
