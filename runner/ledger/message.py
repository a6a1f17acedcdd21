"""The message of a run, which says only that the run is waiting. All other data is in its record.

It has the form of a Celery message in Kombu's envelope, so people who look into a queue see the job and the run. A
header marks it as the runner's. It is short, because there may be a million messages in Redis.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as _quoted

MARK = "runner"
"""The header that marks the runner's messages."""

_MESSAGE = f'{{"headers":{{"{MARK}":1,"task":%s,"id":%s,"digest":%s}},"body":"","properties":{{"delivery_info":{{}}}}}}'


def write_message(*, run_id: str, job: str, digest: str) -> str:
    """Return the message of a run for a queue.

    Args:
        run_id: the id of the run.
        job: the name of its job.
        digest: the digest of the job's spec, in the form of records (``pack_digest``).
    """
    return _MESSAGE % (_quoted(job), _quoted(run_id), _quoted(digest))
