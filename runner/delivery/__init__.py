"""Deliver runs to workers without losing any: claims, leases, beats.

Redis records the waiting runs and the claims. RabbitMQ, in ``amqp``, only tells workers that runs are waiting.
"""
