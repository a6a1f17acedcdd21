"""The keys that plain Celery clients publish to: a queue, and the exchange of remote control."""

INBOX = "celery"
"""The queue. Every worker takes from it, whatever its queues are. Its keys are Kombu's own, without a namespace; runs
of jobs with that queue wait in keys like those of any other."""

INBOX_KEYS = (INBOX, *(f"{INBOX}\x06\x16{step}" for step in (3, 6, 9)))
"""A list for each of Kombu's steps of priority, 0, 3, 6, and 9."""

UNREAD_KEYS = tuple(f"{INBOX}\x06\x16{step}" for step in (1, 2, 4, 5, 7, 8))
"""Where the messages of a client are whose ``broker_transport_options`` have ten ``priority_steps``."""

PLAIN_CONTROL = "celery"
"""The exchange of a Celery app's remote control unless it sets another."""

PLAIN_REPLIES = f"reply.{PLAIN_CONTROL}.pidbox"
"""The exchange of the answers."""
