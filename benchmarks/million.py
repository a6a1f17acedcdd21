"""A ledger of a million runs: how long lists take, what a run costs in memory, and how pruning keeps up.

    python -m benchmarks.million [--runs N] [--check]

Records are copies of those of real runs, each of which went through all scripts of the ledger. The million takes some
1.5 GB of memory and a few minutes.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.pairs import Row, show
from benchmarks.place import Place, place
from runner.actions.stats import last_days, sample_of
from runner.ledger.attempt import Attempts
from runner.ledger.beat import PRUNED_AT_ONCE, PRUNINGS
from runner.ledger.failure import Failure
from runner.ledger.ledger import Ledger
from runner.ledger.scripts import link
from runner.ledger.search import search
from runner.ledger.submission import Submission
from runner.ledger.take import Ask, Takes
from runner.ledger.tally import tally
from runner.model.job import JobSpec
from runner.model.run import State
from runner.model.run_query import RunQuery
from runner.settings import load_settings

RUNS = 1_000_000
JOBS = 200
AT_ONCE = 2_000
REPEATS = 7
MOST_SECONDS = 0.3
MOST_BYTES = 1024
PRUNED = 20_000
PRUNING_RATE = 2_000
MOST_BLOCK_MS = 5.0

# Copies records; see `Copies`. Ids are random. Times go back from now, one run per second. The last argument is the
# number of runs that are due to be pruned.
FILL = """
-- Uses: clock, keys, records.

local first, count, base = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kinds = cjson.decode(ARGV[4])
math.randomseed(first + 1)
local function random_id()
  return string.format('%04x%04x-%04x-4%03x-8%03x-%06x%06x', math.random(0, 65535), math.random(0, 65535),
    math.random(0, 65535), math.random(0, 4095), math.random(0, 4095),
    math.random(0, 16777215), math.random(0, 16777215))
end
for number = first, first + count - 1 do
  local draw = math.random(100)
  local record = draw <= 90 and kinds[1] or draw <= 98 and kinds[2] or kinds[3]
  local at = base - number * 1000
  local run = { id = random_id() }
  for name, value in pairs(record) do run[name] = value end
  run.job = 'job-' .. math.random(0, tonumber(ARGV[5]) - 1)
  run.submitted_at, run.finished_at = at, at + math.random(1, 60000)
  if run.started_at then run.started_at = at + 1 end
  if run.worker then run.worker = 'celery@host' .. math.random(20) end
  local fields = {}
  for name, value in pairs(run) do
    if name ~= 'id' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  redis.call('HSET', run_key(run.id), unpack(fields))
  redis.call('ZADD', IDS, 0, run.id)
  index(run, run.state)
  redis.call('ZADD', PRUNABLE, number < tonumber(ARGV[6]) and number or NOW + 86400000 + number, run.id)
end
return count
"""


@dataclass
class Copies:
    """A ledger that copies of real runs are written to."""

    ledger: Ledger
    base: int

    def templates(self) -> str:
        """Return, as JSON, the records of one run each that ended in SUCCESS, FAILURE and REVOKED."""
        job = JobSpec(name="job-0", task="work:noop", tags=("nightly",), digest="sha256:" + "0" * 64)
        attempts, found = Attempts(self.ledger), []
        celery = {"exc_type": "ValueError", "exc_message": ["no route"], "exc_module": "builtins"}
        traceback = 'Traceback (most recent call last):\n  File "work.py", line 3, in work\nValueError: no route\n'
        for end in ("succeed", "fail", "revoke"):
            run_id = str(uuid.uuid4())
            self.ledger.submit(
                Submission(
                    id=run_id,
                    job=job,
                    params={"day": "2026-11-23", "region": "eu"},
                    queue="default",
                    priority=5,
                    trigger="schedule",
                    submitted_by="somebody@somewhere.example",
                )
            )
            token = secrets.token_hex(16)
            # A worker that knows no job only claims.
            ask = Ask(token, lease=60_000, worker="celery@host1", known="no-jobs", queues=["default"])
            Takes(attempts, lambda *_: None).take(None, ask)
            if end == "revoke":
                self.ledger.revoke(run_id, by="somebody@somewhere.example", comment="not needed")
            else:
                attempts.start(run_id, token, "celery@host1", job.name)
            if end == "succeed":
                attempts.succeed(run_id, token, "1")
            elif end == "fail":
                attempts.fail(run_id, token, "exception", Failure("ValueError", "no route", traceback, celery))
            found.append(self.ledger.client.hgetall(f"{self.ledger.namespace}:run:{run_id}"))
            self.ledger.forget(run_id)
        return json.dumps(found)

    def fill(self, runs: int, due: int, jobs: int = JOBS) -> None:
        """Write ``runs`` copies for ``jobs`` jobs, in batches. ``due`` of them are due, but not pruned yet."""
        records = self.templates()
        script = self.ledger.client.register_script(link(FILL))
        for first in range(0, runs, AT_ONCE):
            count = min(AT_ONCE, runs - first)
            script(keys=[self.ledger.namespace], args=[first, count, self.base, records, jobs, due])


def settle(ledger: Ledger) -> None:
    """Wait until Redis has written its file anew: meanwhile each write copies a page, which is not what is measured."""
    while True:
        info: Any = ledger.client.info("persistence")
        if not info["aof_rewrite_in_progress"] and not info["rdb_bgsave_in_progress"]:
            return
        time.sleep(0.2)


def used_memory(ledger: Ledger) -> int:
    """Return the bytes that Redis uses for data."""
    found: Any = ledger.client.info("memory")
    return int(found["used_memory"])


def timed(what: str, do: Callable[[], Any]) -> Row:
    """Return the longest that an answer takes, of some."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        do()
        taken.append(time.perf_counter() - start)
    return Row(what, max(taken) * 1000, None, "ms", REPEATS, most=MOST_SECONDS * 1000, bounds="figure")


def answers(ledger: Ledger, base: int, runs: int) -> list[Row]:
    """Time lists, pages of one job, and figures."""
    middle = base / 1000 - runs / 2
    _, bounds = last_days("UTC", 14)
    jobs = [f"job-{number}" for number in range(JOBS)]
    deep = search(ledger, RunQuery(until=middle), limit=20).cursor
    some = ledger.runs(limit=1)[0].id

    def find(**options: Any) -> Callable[[], Any]:
        return lambda: search(ledger, RunQuery(**options), limit=20)

    asked: dict[str, Callable[[], Any]] = {
        "the newest 20": find(),
        "20 in the middle": find(until=middle),
        "the page after those": lambda: search(ledger, RunQuery(), limit=20, cursor=deep),
        "the oldest 20": find(sort="oldest"),
        "a job": find(job="job-7"),
        "a state": find(state=[State.FAILURE]),
        "a job and a state": find(job="job-7", state=[State.REVOKED]),
        "a reason": find(reason="cancelled"),
        "a tag": find(tag="nightly"),
        "a worker": find(worker="host7"),
        "a trigger that none has": find(trigger="web"),
        "a key that none has": find(key="none"),
        "a text that no error has": find(grep="nowhere"),
        "the longest": find(sort="longest"),
        "1,000 runs": lambda: search(ledger, RunQuery(), limit=1000),
        "a run by the start of its id": lambda: ledger.get(ledger.resolve(some[:8])),
        "figures of a job": lambda: tally(ledger, ["job-7"], bounds, sample_of(1)),
        f"figures of {JOBS} jobs": lambda: tally(ledger, jobs, bounds, sample_of(JOBS)),
    }
    return [timed(what, do) for what, do in asked.items()]


def pages(place: Place) -> list[Row]:
    """Time pages of the dashboard, as a browser gets them."""
    jobs = "".join(f"  job-{number}: {{task: work:noop, tags: [nightly]}}\n" for number in range(JOBS))
    (place.folder / "jobs.d" / "many.yaml").write_text(f"jobs:\n{jobs}")
    with place.web() as (url, _), httpx.Client(base_url=url, timeout=60.0) as client:

        def get(path: str) -> Callable[[], Any]:
            return lambda: client.get(path).raise_for_status()

        asked = {
            "the overview": "/",
            "the jobs": "/jobs",
            "a job": "/jobs/job-7",
            "the runs": "/runs",
            "the runs of a job": "/runs?job=job-7",
            "the runs that failed": "/runs?state=FAILURE",
            "the runs of a job by REST": "/api/v1/runs?job=job-7&limit=100",
        }
        for path in asked.values():
            # The first page of a process loads what makes pages: its start-up, which is apart.
            get(path)()
        return [timed(f"page: {what}", get(path)) for what, path in asked.items()]


def pruning(ledger: Ledger, due: int) -> list[Row]:
    """Prune half of what is due at a rate, as workers do, then the rest as fast as it goes."""
    client, per_beat = ledger.client, PRUNINGS * PRUNED_AT_ONCE
    client.config_set("latency-tracking-info-percentiles", "99.9 100")
    client.config_resetstat()
    key = f"{ledger.namespace}:prunable"
    rates = []
    for rate in (PRUNING_RATE, None):
        before, start = client.zcard(key), time.perf_counter()
        for beats in range(1, due // 2 // per_beat + 1):
            ledger.beat(worker="", keep=15.0, lease=15.0, record={})
            if rate is not None:
                time.sleep(max(0.0, start + beats * per_beat / rate - time.perf_counter()))
        rates.append((before - client.zcard(key)) / (time.perf_counter() - start))
        for _ in range(due // 2 // PRUNED_AT_ONCE):
            # As long as a portion, and touching nothing: what this machine adds by itself.
            client.eval("local n = 0; for i = 1, 30000 do n = n + i end; return n", 0)
    took: dict[str, Any] = client.info("latencystats")
    ours, idle = (took[f"latency_percentiles_usec_{command}"] for command in ("evalsha", "eval"))
    return [
        Row("pruning, paced", rates[0], None, "runs/s", 1, least=PRUNING_RATE * 0.9, bounds="figure"),
        Row("pruning, as fast as it goes", rates[1], None, "runs/s", 1, least=PRUNING_RATE, bounds="figure"),
        *(
            Row(what, ours[share] / 1000, idle[share] / 1000, "ms", 2, most=MOST_BLOCK_MS, bounds="figure")
            for what, share in (
                ("99.9 of 100 scripts meanwhile : touching nothing", "p99.9"),
                ("the longest of them : touching nothing", "p100"),
            )
        ),
    ]


def main() -> int:
    """Measure, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS, help=f"how many ({RUNS} by default)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is out of its bounds")
    given = parser.parse_args()
    with place(embedded=True) as where:
        ledger = Ledger.open(load_settings(where.folder, environ={}))
        base = round(time.time() * 1000)
        before, start = used_memory(ledger), time.perf_counter()
        due = min(2 * PRUNED, given.runs // 2)
        Copies(ledger, base).fill(given.runs, due)
        filled = time.perf_counter() - start
        settle(ledger)
        bytes_per_run = (used_memory(ledger) - before) / given.runs
        rows = [
            Row("memory of a finished run", bytes_per_run, None, "B", 1, most=MOST_BYTES, bounds="figure"),
            *answers(ledger, base, given.runs),
            *pages(where),
            *pruning(ledger, due),
        ]
        ledger.close()
    show(rows)
    print(f"\n{given.runs} runs of {JOBS} jobs, written in {filled:.0f} s; of each answer, the longest of {REPEATS}")
    return 1 if given.check and not all(row.kept for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
