"""Submit runs of several jobs with few round trips, each atomically."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import redis

from runner.ledger.hint import Hint
from runner.ledger.reach import reaching
from runner.ledger.scripts import digest, source
from runner.ledger.store import Store
from runner.ledger.submission import arguments_of

if TYPE_CHECKING:
    from runner.ledger.submission import Submission

log = logging.getLogger(__name__)

_PORTION = 1000
_OF_A_SCRIPT = re.compile(r"^WRONGTYPE|\buser_script\b|\bscript: ", re.IGNORECASE)
"""The errors of Redis when a script meets keys of the wrong type or unreadable values."""


def submit_each(store: Store, submissions: Sequence[Submission]) -> list[str | Exception]:
    """Submit runs in order, with few round trips.

    Return for each the verdict of ``submit.lua`` (``new``, ``known``, ``conflict``, ``paused``), or the error that
    concerns only this run. Each submission is atomic, so after an interruption the rest can be submitted again.

    Raises:
        Unavailable: Redis cannot be reached; some runs may have been submitted.
    """
    made: list[str | Exception] = []
    with reaching(store.settings):
        for first in range(0, len(submissions), _PORTION):
            portion = submissions[first : first + _PORTION]
            with store.client.pipeline(transaction=False) as pipe:
                # Loading is cheap, and saves checking whether the server knows the script.
                pipe.script_load(source("runner.ledger", "submit", hints=store.hints))
                unsent: dict[int, Exception] = {}
                for number, submission in enumerate(portion):
                    try:
                        arguments = arguments_of(submission, store.settings)
                        "".join(argument for argument in arguments if isinstance(argument, str)).encode()
                    except Exception as error:  # noqa: BLE001 - that of one job; the others are submitted
                        unsent[number] = error
                        continue
                    pipe.evalsha(digest("runner.ledger", "submit", hints=store.hints), 1, store.namespace, *arguments)
                waiting = iter([_verdict(answer) for answer in pipe.execute(raise_on_error=False)[1:]])
                made += [unsent[number] if number in unsent else next(waiting) for number in range(len(portion))]
    _hand_over(store, [submission for submission, new in zip(submissions, made, strict=True) if new == "new"])
    return made


def _hand_over(store: Store, submissions: Sequence[Submission]) -> None:
    """Send RabbitMQ hints for runs. If it does not confirm them, workers publish them later without a wait here."""
    if store.courier is None:
        return
    left = store.hand_over(
        [
            Hint(submission.id, submission.queue, submission.priority)
            for submission in submissions
            if submission.eta is None and submission.delay is None
        ]
    )
    if left:
        log.warning("%d runs are recorded, and handed over later: %s", len(left), store.courier.trouble)


def _verdict(answer: Any) -> str | Exception:
    """Return the verdict, or the error caused by damaged keys of this job.

    Raises:
        redis.RedisError: an error that affects other runs, too.
    """
    if not isinstance(answer, Exception):
        return str(answer[0])
    if type(answer) is redis.ResponseError and _OF_A_SCRIPT.search(str(answer)):
        return answer
    raise answer
