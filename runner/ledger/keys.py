"""The keys and channels in Redis. Scripts have their own list in ``lua/shared/keys.lua``; a test compares the two."""

from __future__ import annotations

from runner._dataclass import dataclass


def meta_key(run_id: str) -> str:
    """Return the key of a run's result in Celery's format. Celery also publishes the result on this channel."""
    return f"celery-task-meta-{run_id}"


class _Named:
    """The key with the name of the attribute."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.replace("_", "-")

    def __get__(self, keys: Keys, owner: type) -> str:
        return keys.named(self._name)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    namespace: str

    archive = _Named()
    """A hash: ``ledger``, the archive's id for this ledger, and ``identity``, the id of its archive."""
    archived = _Named()
    archiver = _Named()
    backfills = _Named()
    claims = _Named()
    dead_letters = _Named()
    delayed = _Named()
    events = _Named()
    failed_in_row = _Named()
    flows = _Named()
    forgotten = _Named()
    hints = _Named()
    ids = _Named()
    leases = _Named()
    limits = _Named()
    metrics = _Named()
    outbox = _Named()
    overfull = _Named()
    overfull_rules = _Named()
    overrunning = _Named()
    parked = _Named()
    paused = _Named()
    prunable = _Named()
    queues = _Named()
    rates = _Named()
    removed_flows = _Named()
    required = _Named()
    silent = _Named()
    succeeded = _Named()
    terminating = _Named()
    workers = _Named()
    binding_deadlines = _Named()
    """A key of Kombu."""
    confirm = _Named()
    """A key that is written so that ``WAIT`` has a write to wait for."""
    touch = _Named()
    """A key that is never written, so that it can be deleted."""

    def named(self, name: str) -> str:
        """Return the key with a name in the namespace."""
        return f"{self.namespace}:{name}"

    def run(self, run_id: str) -> str:
        """Return the key of a run's record."""
        return self.named(f"run:{run_id}")

    def log(self, run_id: str) -> str:
        """Return the key of a run's log."""
        return self.named(f"log:{run_id}")

    def changed(self, run_id: str) -> str:
        """Return the channel of the changes of a run."""
        return self.named(f"changed:{run_id}")

    def state(self, state: str) -> str:
        """Return the index of the runs in a state."""
        return self.named(f"state:{state}")

    def job(self, job: str, state: str) -> str:
        """Return the index of a job's runs in a state."""
        return self.named(f"job:{job}:{state}")

    def step_state(self, state: str) -> str:
        """Return the index of the step runs in a state."""
        return self.named(f"step-state:{state}")

    def step_job(self, job: str, state: str) -> str:
        """Return the index of the step runs of a job in a state."""
        return self.named(f"step-job:{job}:{state}")

    def flow(self, flow: str) -> str:
        """Return the key of a flow's progress."""
        return self.named(f"flow:{flow}")

    def flow_runs(self, flow: str) -> str:
        """Return the list of the step runs of a flow."""
        return self.named(f"flow-runs:{flow}")

    def flow_states(self, flow: str, state: str) -> str:
        """Return the key of the bits that mark a flow's step runs in a state."""
        return self.named(f"flow-states:{flow}:{state}")

    def slot(self, job: str, slot: int | str) -> str:
        """Return the key of the run id of a slot (Unix ms)."""
        return self.named(f"slot:{job}:{slot}")

    def backfill(self, backfill: str) -> str:
        """Return the key of a backfill."""
        return self.named(f"backfill:{backfill}")

    def queue(self, queue: str, priority: int | str) -> str:
        """Return the list of the waiting messages of a queue with a priority."""
        return self.named(f"queue:{queue}:{priority}")

    def ring(self, queue: str) -> str:
        """Return the list that wakes processes waiting for a queue."""
        return self.named(f"ring:{queue}")

    @property
    def hints_ring(self) -> str:
        """Return the list that wakes the publishers of hints; no queue can have its name."""
        return self.ring("@hints")

    def bell(self, queue: str) -> str:
        """Return the stream that wakes all workers of a queue."""
        return self.named(f"bell:{queue}")

    def wake(self, worker: str) -> str:
        """Return the stream that wakes one worker for the inbox."""
        return self.named(f"wake:{worker}")

    def binding(self, queue: str) -> str:
        """Return Kombu's set of the bindings of a queue."""
        return self.named(f"binding:{queue}")

    def permanent_binding(self, queue: str) -> str:
        """Return Kombu's key that marks the bindings of a queue as permanent."""
        return self.named(f"binding-permanent:{queue}")

    def waiting(self, group: str) -> str:
        """Return the runs of a group that wait for a concurrency slot."""
        return self.named(f"waiting:{group}")

    def rated(self, group: str) -> str:
        """Return the runs of a group that wait for their rate."""
        return self.named(f"rated:{group}")

    def requiring(self, job: str, within: int | str) -> str:
        """Return the key of the runs that wait for a success of a job within the last ``within`` milliseconds."""
        return self.named(f"requiring:{job}:{within}")

    def worker(self, worker: str) -> str:
        """Return the key of a worker's record."""
        return self.named(f"worker:{worker}")

    def known(self, digest: str) -> str:
        """Return the key of the jobs that takers with this catalog may start."""
        return self.named(f"known:{digest}")

    def specs(self, digest: str) -> str:
        """Return the key of a published catalog."""
        return self.named(f"specs:{digest}")

    def audit(self, kind: str) -> str:
        """Return the stream of one type of acts; an empty ``kind`` is that of administrators."""
        return self.named(f"audit{kind}")
