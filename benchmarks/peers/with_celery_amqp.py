"""Tasks of Celery on the RabbitMQ of BENCH_BROKER: ``plain`` as it comes, ``late`` with late acknowledgments."""

from __future__ import annotations

import os

from benchmarks.peers.with_celery import make

plain = make("plain", os.environ["BENCH_BROKER"])
late = make("late", os.environ["BENCH_BROKER"], task_acks_late=True)
