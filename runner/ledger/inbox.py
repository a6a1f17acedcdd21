"""The keys that plain Celery clients publish to: a queue and the exchange of remote control."""

INBOX = "celery"
"""The queue. Every worker consumes it, whatever its queues are. It has Kombu's keys without a namespace. Runs of jobs
with a queue of this name wait in the same keys as those of any other queue."""

INBOX_KEYS = (INBOX, *(f"{INBOX}\x06\x16{step}" for step in (3, 6, 9)))
"""The list for each of Kombu's priority steps 0, 3, 6, and 9."""

UNREAD_KEYS = tuple(f"{INBOX}\x06\x16{step}" for step in (1, 2, 4, 5, 7, 8))
"""The lists for clients whose ``broker_transport_options`` have ten ``priority_steps``."""

PLAIN_CONTROL = "celery"
"""The exchange of a Celery app's remote control unless it sets another."""

PLAIN_REPLIES = f"reply.{PLAIN_CONTROL}.pidbox"
"""The exchange of the replies."""
