"""Check the cost of keeping recent runs beyond ``retention.runs``."""

from __future__ import annotations

from runner.ledger.health.finding import EXAMPLES, Finding, Level, ok
from runner.ledger.health.server import size_text
from runner.ledger.keys import meta_key
from runner.ledger.reach import reaching
from runner.ledger.store import Store
from runner.model.plural import things
from runner.model.run import FINAL

NAME = "retention"

COSTLY_BYTES = 64 * 1024**2
"""The memory of spared runs that is reported if Redis has no memory limit (bytes)."""
COSTLY_SHARE = 0.05
"""The same as a share of Redis' ``maxmemory``."""
MOST_JOBS = 1000
"""The maximum number of jobs that are checked, next to be pruned first."""
_SAMPLED = 5


def check_retention(store: Store) -> Finding:
    """Return the number of ended runs beyond ``retention.runs``, and an estimate of their memory.

    They ended less than ``retention.keep_at_least`` ago, or the sweep has not removed them yet.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    spared = _spared(store)
    if not spared:
        return ok(NAME, "no job keeps more ended runs than retention.runs")
    jobs = sorted(spared, key=lambda job: -spared[job])
    count = sum(spared.values())
    taken = sum(spared[job] * _bytes_of_one(store, job) for job in jobs[:EXAMPLES]) * count
    taken //= sum(spared[job] for job in jobs[:EXAMPLES])
    counted = f"{things(count, 'run')} of {things(len(jobs), 'job')}"
    what = f"{counted} above retention.runs ended less than keep_at_least ago, and take about {size_text(taken)}"
    costly = taken >= _threshold(store)
    return Finding(
        name=NAME,
        level=Level.WARNING if costly else Level.OK,
        what=what,
        remedy="lower retention.keep_at_least of these jobs, if nobody waits for their runs so long"
        if costly
        else None,
        count=count,
        examples=tuple(jobs[:EXAMPLES]),
    )


def _spared(store: Store) -> dict[str, int]:
    """Return the number of ended runs beyond the limit of each job."""
    keys, client = store.keys, store.client
    with reaching(store.settings):
        jobs: list[str] = client.zrange(keys.overfull, 0, MOST_JOBS - 1)  # type: ignore[assignment]
        if not jobs:
            return {}
        with client.pipeline(transaction=False) as pipe:
            pipe.hmget(keys.overfull_rules, jobs)
            for job in jobs:
                for state in FINAL:
                    pipe.zcard(keys.job(job, state))
            rules, *counts = pipe.execute()
    states = len(FINAL)
    found = {}
    for number, (job, rule) in enumerate(zip(jobs, rules, strict=True)):
        limit = (rule or "").partition(" ")[0]
        if limit.isdigit():
            found[job] = sum(counts[number * states : (number + 1) * states]) - int(limit)
    return {job: more for job, more in found.items() if more > 0}


def _bytes_of_one(store: Store, job: str) -> int:
    """Return the approximate size of one of the newest ended runs of a job (bytes)."""
    keys, client = store.keys, store.client
    with reaching(store.settings):
        with client.pipeline(transaction=False) as pipe:
            for state in FINAL:
                pipe.zrange(keys.job(job, state), 0, _SAMPLED - 1, desc=True)
            ids = [run_id for found in pipe.execute() for run_id in found]
        with client.pipeline(transaction=False) as pipe:
            for run_id in ids:
                for key in (keys.run(run_id), meta_key(run_id), keys.log(run_id)):
                    pipe.memory_usage(key)
            taken = pipe.execute(raise_on_error=False)
    return sum(size for size in taken if isinstance(size, int)) // max(1, len(ids))


def _threshold(store: Store) -> float:
    with reaching(store.settings):
        most = int(store.client.info("memory").get("maxmemory", 0))
    return COSTLY_SHARE * most if most else COSTLY_BYTES
