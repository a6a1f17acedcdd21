"""Flows on a real server, with a worker without a process: it claims, starts, and settles runs through the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from runner.catalog.catalog import Catalog
from runner.catalog.steps import flow_of
from runner.flows.advance import advance
from runner.flows.begin import begin
from runner.hooks.fire import fire_hooks
from runner.ledger.flow_progress import step_run_id
from runner.ledger.ledger import Ledger
from runner.model.job import JobSpec
from runner.model.run import Run, State
from tests.support.bench import ERROR, Bench
from tests.support.catalogs import catalog_of

Behave = Callable[[Run], Any]
"""The work of a step run: its return value is the result; an exception is a failure."""


class Taken(NamedTuple):
    """A run in STARTED."""

    run: Run
    token: str


class FlowBench:
    """Flows of some jobs, and the operations of a worker on them, called by hand."""

    def __init__(self, bench: Bench, jobs: Mapping[str, Mapping[str, Any]]) -> None:
        self.bench = bench
        self.ledger: Ledger = bench.ledger
        self.jobs: dict[str, JobSpec] = {name: flow_of(name, options) for name, options in jobs.items()}
        self.catalog: Catalog = catalog_of(self.jobs)
        self.started: list[tuple[str, int | None]] = []
        """The steps and items whose runs were started, in that order."""

    # -- operations of a worker

    def submit(self, name: str = "flow", **options: Any) -> str:
        """Submit a run; return its id."""
        return self.bench.submitted(job=self.jobs[name], **options).id

    def take(self) -> Taken | None:
        """Start the run of the next waiting message; return None if there is none."""
        while (token := self.bench.try_claim()) is not None:
            run_id = self.bench.claimed[token]
            run = next(iter(self.ledger.read([run_id])), None)
            if run is None:
                continue
            started = self.bench.attempts.start(run_id, token, "w1", run.job)
            if hasattr(started, "attempt"):
                # A subflow may be started again until it has begun.
                if run.step is not None and run.steps is None:
                    self.started.append((run.step, run.item))
                return Taken(self.ledger.get(run_id), token)
        return None

    def begin(self, flow: str) -> None:
        """Start the flow, which must be next, and begin it, without advancing it."""
        taken = self.take()
        assert taken is not None
        assert taken.run.id == flow
        assert begin(self.ledger, flow, taken.token)

    def advance(self, flow: str) -> bool:
        """Advance a flow."""
        return advance(self.ledger, self.catalog, flow, by="w1")

    def run(self, name: str = "flow", **options: Any) -> str:
        """Submit a flow, begin it, and advance it; return its id."""
        flow = self.submit(name, **options)
        self.begin(flow)
        self.advance(flow)
        return flow

    def settle(self, taken: Taken, result: Any = None) -> int:
        """End an attempt with a result; an exception is a failure. Return the script's answer."""
        if isinstance(result, Exception):
            return int(self.bench.attempts.fail(taken.run.id, taken.token, "exception", ERROR))
        return int(self.bench.attempts.succeed(taken.run.id, taken.token, json.dumps(result)))

    def work(self, behave: Behave = lambda _: None, *, most: int | None = None, advances: bool = True) -> int:
        """Perform waiting runs until none is left, or ``most``; return how many. Settled step runs advance flows."""
        done = 0
        while (most is None or done < most) and (taken := self.take()) is not None:
            done += 1
            if taken.run.steps is not None:
                begin(self.ledger, taken.run.id, taken.token)
                if advances:
                    self.advance(taken.run.id)
                continue
            try:
                result: Any = behave(taken.run)
            except Exception as error:  # noqa: BLE001 - what a job raises
                result = error
            if self.settle(taken, result) == 2 and advances:
                assert taken.run.flow is not None
                self.advance(taken.run.flow)
        return done

    def drain(self) -> int:
        """Process the entries of the outbox like any live worker; return how many there were."""
        return fire_hooks(self.ledger, self.catalog, by="w1")

    # -- reading

    def get(self, flow: str) -> Run:
        """Return the run of a flow."""
        return self.ledger.get(flow)

    def steps(self, flow: str) -> dict[str, State]:
        """Return the states of the steps."""
        return {step["name"]: step["state"] for step in self.get(flow).steps or []}

    def step(self, flow: str, name: str) -> dict[str, Any]:
        """Return a step in the form of the run document."""
        return next(step for step in self.get(flow).steps or [] if step["name"] == name)

    def of(self, flow: str, step: str, item: int | None = None) -> Run:
        """Return the run of a step."""
        return self.ledger.get(step_run_id(flow, step, item))

    def outbox(self) -> list[str]:
        """Return the flows that must be advanced."""
        entries = self.ledger.client.zrange(self.ledger.keys.outbox, 0, -1)
        return [str(entry).split(" ")[0] for entry in entries if " advance " in str(entry)]

    def all_keys(self) -> list[str]:
        """Return all keys of the namespace."""
        return sorted(str(key) for key in self.ledger.client.scan_iter(f"{self.ledger.namespace}:*"))
