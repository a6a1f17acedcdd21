"""The message of a run: which run waits. All else is in its record.

It has the form of a Celery message in Kombu's envelope, so whoever looks into a queue sees the job and the run. It is
marked as ours. There may be a million of them in Redis, so it says no more than is read.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as _quoted

MARK = "runner"
"""The header that our messages carry."""

_MESSAGE = f'{{"headers":{{"{MARK}":1,"task":%s,"id":%s,"digest":%s}},"body":"","properties":{{"delivery_info":{{}}}}}}'


def write_message(*, run_id: str, job: str, digest: str) -> str:
    """Return the message of a run as it stands in a queue.

    Args:
        run_id: its id.
        job: its job.
        digest: of the job's spec, as records hold it (``pack_digest``).
    """
    return _MESSAGE % (_quoted(job), _quoted(run_id), _quoted(digest))
