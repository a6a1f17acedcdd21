"""Compare the ledger with the queues, the claims, and its own indexes, and repair differences.

The scan is not atomic, so it only collects suspects. One atomic script then judges and repairs each of them. Running
this twice, or next to live workers, changes nothing more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha1
from itertools import islice
from typing import Any, TypeVar

from runner.ledger.beat import sweep
from runner.ledger.fleet import consumed_queues
from runner.ledger.health.fault_types import KINDS, Tally, finding_of
from runner.ledger.health.finding import Finding
from runner.ledger.keys import meta_key
from runner.ledger.message import write_message
from runner.ledger.reach import reaching
from runner.ledger.record import read_record
from runner.ledger.scripts import run_script
from runner.ledger.store import Store

T = TypeVar("T")

PACKAGE = "runner.ledger.health"
PORTION = 200
"""The maximum number of entries, records, or messages that one script reads."""
BATCH = 50
"""The maximum number of suspects that one script judges; it scans their queue once."""
EDGE = 2500
"""The number of messages at each end of a long queue that the judging script reads."""
STATES = ("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED")


class Reconciliation:
    """One scan of a namespace."""

    def __init__(self, store: Store, *, mend: bool = False, edge: int = EDGE) -> None:
        self._store = store
        self._client: Any = store.client
        self._namespace, self._keys = store.namespace, store.keys
        self._mend = mend
        self._edge = edge
        self._lease = round(store.settings.worker.lease * 1000)
        self._tallies: dict[str, Tally] = defaultdict(Tally)
        self._suspects: dict[str, set[str]] = {}
        """Run ids, with the lists that may contain their messages."""
        self._placed: dict[str, list[str]] = defaultdict(list)
        """Run ids, with one entry for each message that was seen: the list that contains it."""
        self._newest: dict[str, str] = {}
        """Lists, with the id of the newest message at the beginning of their scan."""
        self._rated: set[str] = set()
        """The groups of runs with limited starts."""
        self._required: set[str] = set()
        """The names of the sets of runs that wait for a success of another job."""

    def findings(self) -> Iterator[Finding]:
        """Scan, and yield the findings (repaired ones, if that was requested).

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with reaching(self._store.settings):
            if self._mend:
                # Claims come first, because an unreadable one would stop the sweep.
                self._walk_claims()
                sweep(self._store, 2 * self._lease / 1000 + 1)
            self._walk_records_and_queues()
            self._walk_claims()
            self._walk_indexes()
            self._judge()
            self._walk_groups()
            self._walk_queue_names()
        for kind in KINDS:
            if kind.none or self._tallies[kind.name].count:
                yield finding_of(kind, self._tallies[kind.name])

    # -- scanning

    def _script(self, name: str, *args: Any) -> Any:
        arguments = ("1" if self._mend else "", *args)
        return run_script(self._client, self._namespace, name, *arguments, package=PACKAGE, hints=self._store.hints)

    def _walk_records_and_queues(self) -> None:
        """Read every key of the namespace once: records, queues, and the indexes by job."""
        prefix = self._keys.named("")
        waiting: dict[str, str] = {}
        for page in _portions(self._client.scan_iter(match=f"{prefix}*", count=PORTION), PORTION):
            ids = []
            for key in page:
                kind, _, rest = str(key).removeprefix(prefix).partition(":")
                if kind == "run":
                    ids.append(rest)
                elif kind == "queue":
                    self._newest[str(key)] = ""
                elif kind in ("passes", "rated"):
                    self._rated.add(rest)
                elif kind == "requiring":
                    self._required.add(rest)
                elif kind in ("job", "step-job"):
                    job, _, state = rest.rpartition(":")
                    self._walk_index(kind, str(key), job, state)
            self._look_at_records(ids, waiting)
        for key in list(self._newest):
            self._walk_queue(key)
        for run_id, key in waiting.items():
            if run_id not in self._placed:
                self._suspect(run_id, key)

    def _look_at_records(self, ids: Sequence[str], waiting: dict[str, str]) -> None:
        suspects = []
        for run_id, _, queue, priority, location, *faults in self._script("records", *ids) if ids else ():
            for fault in faults:
                if fault == "suspect":
                    suspects.append(run_id)
                else:
                    self._tallies["indexes"].add(run_id)
            if location == "queue":
                waiting[run_id] = self._keys.queue(queue, priority)
        damaged = self._damaged(suspects)
        self._tallies["records"].add(*damaged)
        if self._mend:
            for run_id in damaged:
                waiting.pop(run_id, None)

    def _damaged(self, ids: Sequence[str]) -> list[str]:
        """Return the runs with damaged records, and remove them if that was requested."""
        with self._client.pipeline(transaction=False) as pipe:
            for run_id in ids:
                pipe.hgetall(self._keys.run(run_id))
                pipe.get(meta_key(run_id))
            found = pipe.execute(raise_on_error=False)
        seen: list[str] = []
        for run_id, record, meta in zip(ids, found[::2], found[1::2], strict=True):
            held = record if isinstance(record, dict) else {}
            result = meta if isinstance(meta, str) else None
            # A result of another type is not a result, and a record of another type is unreadable.
            if (held or record) and (isinstance(meta, Exception) or read_record(run_id, held, result).damaged):
                flat = "\0".join(part for pair in held.items() for part in pair)
                seen += [run_id, sha1(flat.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest()]
        return list(self._script("damaged", *seen)) if seen else []

    def _walk_queue(self, key: str, *, again: bool = False) -> None:
        first = 0
        while True:
            length, removed, *found = self._script("messages", key, first, first + PORTION - 1)
            if not first:
                self._newest[key] = found[0] if found else ""
            for run_id, kind in zip(found[::2], found[1::2], strict=True):
                if kind in ("final", "unknown"):
                    if not again:
                        self._tallies["leftover-messages"].add(run_id)
                elif kind not in ("foreign", "unreadable"):
                    self._placed[run_id].append(key)
                    if not again and (kind in ("STARTED", "delayed") or len(self._placed[run_id]) > 1):
                        self._suspect(run_id, key)
            first += int(length) - int(removed)
            if length < PORTION:
                return

    def _suspect(self, run_id: str, *keys: str) -> None:
        self._suspects.setdefault(run_id, set()).update(keys, self._placed.get(run_id, ()))

    def _walk_claims(self) -> None:
        pages = self._client.hscan_iter(self._keys.claims, count=PORTION)
        for page in _portions((token for token, _ in pages), BATCH):
            for token, (run_id, fault) in zip(page, self._script("claims", self._lease, *page), strict=True):
                if fault:
                    self._tallies["dead-leases" if fault == "dead" else "claims"].add(run_id or token)
                if run_id in self._placed:
                    self._suspect(run_id, *self._placed[run_id])
        leases = self._client.zscan_iter(self._keys.leases, count=PORTION)
        for page in _portions((token for token, _ in leases), PORTION):
            self._tallies["claims"].add(*self._script("leases", *page))

    def _walk_indexes(self) -> None:
        for state in STATES:
            self._walk_index("state", self._keys.state(state), "", state)
            self._walk_index("step-state", self._keys.step_state(state), "", state)
        for kind in ("ids", "expiring", "delayed", "prunable", "archived", "flows", "terminating"):
            self._walk_index(kind, self._keys.named(kind), "", "")

    def _walk_index(self, kind: str, key: str, job: str, state: str) -> None:
        scan = self._client.hscan_iter if kind == "terminating" else self._client.zscan_iter
        for page in _portions((run_id for run_id, _ in scan(key, count=PORTION)), PORTION):
            self._tallies["strays"].add(*self._script("strays", kind, key, job, state, *page))

    def _walk_groups(self) -> None:
        groups = (group for group, _ in self._client.hscan_iter(self._keys.limits, count=PORTION))
        for page in _portions(groups, BATCH):
            self._tallies["slots"].add(*self._script("groups", *page))
        for page in _portions(iter(self._rated), BATCH):
            self._tallies["slots"].add(*self._script("rates", *page))
        for page in _portions(iter(self._required), BATCH):
            self._tallies["slots"].add(*self._script("requiring", *page))

    def _walk_queue_names(self) -> None:
        consumed = consumed_queues(self._store)
        names = (name for name in self._client.sscan_iter(self._keys.queues) if name not in consumed)
        for page in _portions(names, PORTION):
            self._tallies["queue-names"].add(*self._script("queue_names", *page))

    # -- judging

    def _judge(self) -> None:
        suspects, patience = self._suspects, 3
        while suspects:
            undecided = self._judge_once(suspects)
            patience -= len(undecided) == len(suspects)
            suspects = undecided
            if not patience:
                break
            # Queues change, also through the repairs. Scan these again.
            for run_id in suspects:
                self._placed.pop(run_id, None)
            for key in sorted({key for keys in suspects.values() for key in keys}):
                self._walk_queue(key, again=True)
        self._tallies["undecided"].add(*suspects)

    def _judge_once(self, suspects: dict[str, set[str]]) -> dict[str, set[str]]:
        """Judge suspects, and return those that could not be judged."""
        groups: dict[frozenset[str], list[str]] = defaultdict(list)
        for run_id, keys in suspects.items():
            groups[frozenset(keys)].append(run_id)
        named = {"missing": "runs-without-message", "orphan": "runs-without-claim", "duplicate": "duplicate-messages"}
        undecided = {}
        for group, ids in groups.items():
            lists = sorted(group)
            for batch in _portions(ids, BATCH):
                messages = self._messages(batch) if self._mend else dict.fromkeys(batch, "")
                verdicts = self._script(
                    "places",
                    self._lease,
                    self._edge,
                    len(lists),
                    *(part for key in lists for part in (key, self._newest.get(key, ""))),
                    *(
                        part
                        for run_id, text in messages.items()
                        for part in (run_id, len(self._placed.get(run_id, ())), text)
                    ),
                )
                for run_id, verdict in zip(messages, verdicts, strict=True):
                    if verdict == "unsure":
                        undecided[run_id] = suspects[run_id]
                    elif verdict != "fine":
                        self._tallies[named[verdict]].add(run_id)
        return undecided

    def _messages(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the message of each run. It is built from the record and never changes."""
        ids = list(ids)
        with self._client.pipeline(transaction=False) as pipe:
            for run_id in ids:
                pipe.hmget(self._keys.run(run_id), "job", "spec_digest", "state")
            records = pipe.execute()
        return {
            run_id: write_message(run_id=run_id, job=job, digest=digest or "")
            for run_id, (job, digest, state) in zip(ids, records, strict=True)
            if state
        }


def _portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion


def reconcile(store: Store, *, mend: bool = False) -> list[Finding]:
    """Compare the ledger with the queues and return the findings; ``mend`` repairs them.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return list(Reconciliation(store, mend=mend).findings())
