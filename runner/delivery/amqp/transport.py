"""Kombu's transport for RabbitMQ, as a worker's Celery consumer and remote control use it."""

from __future__ import annotations

from typing import Any

from kombu.transport import pyamqp


class Transport(pyamqp.Transport):
    """Kombu's, with a prefetch count for each consumer: quorum queues and newer servers know no other."""

    def qos_semantics_matches_spec(self, connection: Any) -> bool:  # noqa: ARG002 - Kombu's signature
        """Return True: no global prefetch count is set."""
        return True
