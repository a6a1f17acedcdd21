"""Bring runs to workers without losing any: claim, lease, beat.

What waits, and who holds what, is in Redis. RabbitMQ, in ``amqp``, tells workers that something waits.
"""
