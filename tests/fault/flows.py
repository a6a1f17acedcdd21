"""Flows under attack: every process that they pass through dies at random, and Redis too.

What became of them is judged by what the steps wrote down, not by the code that decides about them: the few rules of
flows stand here once more, in their simplest form.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.model.run import Run, to_datetime
from tests.fault.flow_jobs import TEN_STEPS, WIDE, flow_jobs
from tests.fault.flow_steps import FAN, ITEMS, fan_item_fails, plan
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.system import System, Worker, orders
from tests.fault.verdict import DEATHS_TO_POISON, Row
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until
from tests.support.project import COMMAND, clean_environment
from tests.support.running import Running

if TYPE_CHECKING:
    from tests.fault.attacks import Field

TOLERANCE = 0.05
"""Seconds by which two clocks of this machine may seem to differ."""
WIDE_ONES = 100
"""There is one wide flow for this number of others, and at least one."""
MANY = 500
VICTIMS = ("taker",) * 6 + ("template", "parent", "parent", "scheduler", "scheduler", "tick", "redis")


class Helpers:
    """A scheduler and a tick beside the workers: they advance flows too."""

    def __init__(self, system: RunnerSystem) -> None:
        self._system = system
        self._running = {name: self._start(name) for name in ("scheduler", "tick")}

    def _start(self, name: str) -> Running:
        environment = clean_environment(self._system.environment)
        return Running([*COMMAND, name], cwd=self._system.project.path, env=environment, grace=1.0)

    def kill(self, name: str) -> None:
        """SIGKILL one of them, which may have ended by itself, and start another."""
        former = self._running[name]
        with suppress(ProcessLookupError):
            os.kill(former.pid, signal.SIGKILL)
        former.__exit__(None, None, None)
        self._system.deaths.killed += 1
        self._running[name] = self._start(name)

    def close(self) -> None:
        """End both."""
        for process in self._running.values():
            process.__exit__(None, None, None)


def attack_flows(field: Field) -> None:
    """SIGKILL takers, templates, parents, a scheduler, ticks, and Redis, while flows run."""
    system, random, size = field.system, field.random, field.size
    assert isinstance(system, RunnerSystem)
    system.start_workers(size.workers, size.concurrency)
    helpers = Helpers(system)
    field.stack.callback(helpers.close)
    todo = [replace(order, kind="good", delay=0.0, job=TEN_STEPS) for order in orders(size.runs, random, 0.02)]
    for number in range(max(1, size.runs // WIDE_ONES)):
        at = number * WIDE_ONES + random.randrange(min(size.runs, WIDE_ONES))
        todo[at] = replace(todo[at], job=WIDE)
    begun = time.monotonic()
    with field.load_of(todo):
        for number in range(size.kills):
            due = begun + size.seconds * (number + random.random()) / size.kills
            time.sleep(max(0.0, due - time.monotonic()))
            whom = random.choice(VICTIMS)
            if whom in ("scheduler", "tick"):
                helpers.kill(whom)
            elif whom == "redis":
                since = time.monotonic()
                field.server.kill()
                system.deaths.killed += 1
                time.sleep(random.uniform(0.1, 0.5))
                field.server.start()
                system.deaths.outages.append((since, time.monotonic()))
            else:
                _kill_one(field, whom)


def _kill_one(field: Field, whom: str) -> None:
    system = field.system
    # Not those that are about to start: they have nothing that could get lost.
    victims: list[Worker] = wait_until(
        lambda: [worker for worker in system.workers if worker.children], 60.0, "a worker has takers"
    )
    victim = field.random.choice(victims)
    if whom == "parent":
        system.kill_worker(victim)
        system.add_worker(field.size.concurrency)
    elif whom == "template":
        system.kill_helpers(victim)
    else:
        system.kill_child(victim, field.random)


@dataclass
class Verdict:
    """What is wrong, by kind."""

    lost: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Judge:
    """Holds what the ledger has of flows against what their steps wrote down."""

    def __init__(self, system: RunnerSystem) -> None:
        self._system = system
        self.testimony = Testimony.read(system.witness)
        self.graphs = {name: job["steps"] for name, job in flow_jobs(Path()).items()}
        self.verdict = Verdict()
        self._ahead = time.time() - time.monotonic()
        """What the wall clock is ahead of that of the witness."""
        self._saw: dict[str, list[Any]] = defaultdict(list)
        joins = Path(f"{system.witness}.joins")
        for line in joins.read_text().splitlines() if joins.exists() else ():
            record = json.loads(line)
            self._saw[record["run"]].append(record["saw"])

    def look(self) -> int:
        """Judge all flows; return how many step runs they have."""
        total = 0
        seen = set(self._system.accepted)
        for flow, runs in self._flows():
            total += len(runs)
            seen |= {run.id for run in runs}
            self._judge(flow, runs)
        if unknown := set(self.testimony.starts) - seen:
            self.verdict.notes.append(f"{len(unknown)} ran that no flow has, such as {next(iter(unknown))}")
        return total

    def _flows(self) -> Iterator[tuple[Run, list[Run]]]:
        client, ledger = self._system.server.client(), self._system.ledger
        ids = list(self._system.accepted)
        for at in range(0, len(ids), MANY):
            found = {run.id: run for run in ledger.read(ids[at : at + MANY])}
            for flow_id in ids[at : at + MANY]:
                if (flow := found.get(flow_id)) is None:
                    self.verdict.lost.append(f"{flow_id}: no such run")
                    continue
                members = [str(member) for member in client.lrange(f"{NAMESPACE}:flow-runs:{flow_id}", 0, -1)]
                runs = ledger.read(members)
                if len(runs) != len(members) or len(set(members)) != len(members):
                    self.verdict.wrong.append(f"{flow_id}: {len(members)} step runs are listed, {len(runs)} are there")
                yield flow, runs

    def _judge(self, flow: Run, runs: list[Run]) -> None:
        graph = self.graphs[flow.job]
        by_step: dict[str, list[Run]] = defaultdict(list)
        for run in runs:
            assert run.step is not None
            by_step[run.step].append(run)
        if not flow.final or any(not run.final for run in runs):
            left = {f"{run.step}[{run.item}] {run.state}" for run in runs if not run.final}
            self.verdict.stuck.append(f"{flow.id} {flow.job} {flow.state}: {', '.join(sorted(left)[:5])}")
            return
        bad: dict[str, bool] = {}
        culprits = []
        for step, options in graph.items():
            mine = by_step[step]
            needs = options["needs"]
            blocked = any(bad[need] and not graph[need].get("may_fail") for need in needs)
            wanted = self._wanted(flow, step, options, blocked=blocked, all_failed=all(bad[need] for need in needs))
            self._compare(flow, step, mine, wanted)
            bad[step] = any(run.state == "FAILURE" or run.reason == "upstream_failed" for run in mine)
            if any(run.state == "FAILURE" for run in mine) and not options.get("may_fail"):
                culprits.append(step)
            for run in mine:
                self._order(flow, run, [upstream for need in needs for upstream in by_step[need]])
            if step == "join":
                self._join(flow, mine, by_step["each"])
        state, reason = ("FAILURE", "step_failed") if culprits else ("SUCCESS", None)
        if (flow.state, flow.reason) != (state, reason):
            self.verdict.wrong.append(f"{flow.id} {flow.state} {flow.reason}, though {culprits or 'no step'} failed")

    def _wanted(
        self, flow: Run, step: str, options: dict[str, Any], *, blocked: bool, all_failed: bool
    ) -> list[tuple[str, str | None]]:
        """Return the outcome of each run that a step must have if no process died."""
        intended = plan(flow.id)
        when = options.get("when", "succeeded")
        if when == "succeeded" and blocked:
            return [("REVOKED", "upstream_failed")]
        if (when == "failed" and not all_failed) or (step == "maybe" and not intended.go):
            return [("REVOKED", "skipped")]
        good, wrong = ("SUCCESS", None), ("FAILURE", "exception")
        if step == "each" and flow.job == WIDE:
            return [wrong if fan_item_fails(item) else good for item in range(FAN)]
        if step == "each":
            return [wrong if intended.item_fails and item == 1 else good for item in range(ITEMS)]
        fails = {"shaky": intended.shaky_fails, "join": intended.join_fails and flow.job == TEN_STEPS}
        return [wrong if fails.get(step) else good]

    def _compare(self, flow: Run, step: str, runs: list[Run], wanted: Sequence[tuple[str, str | None]]) -> None:
        where = f"{flow.id} {flow.job}/{step}"
        items = [run.item for run in runs]
        if items != ([None] if len(wanted) == 1 else list(range(len(wanted)))) and (len(items), len(wanted)) != (1, 1):
            self.verdict.wrong.append(f"{where}: has the items {items}, not {len(wanted)}")
            return
        for run, (state, reason) in zip(runs, wanted, strict=True):
            starts = self.testimony.starts.get(run.id, [])
            name = f"{where}[{run.item}] {run.state} {run.reason}"
            if run.state == "REVOKED" and starts:
                self.verdict.wrong.append(f"{name}: it started all the same")
            if step == "once" and len(starts) > 1:
                self.verdict.wrong.append(f"{name}: at most once, but {len(starts)} starts")
            deaths = sum(self._system.deaths.explain(start) for start in starts)
            if run.reason == "worker_lost" and step == "once" and (deaths or (not starts and self._system.deaths)):
                continue
            if run.reason == "poisoned" and deaths >= DEATHS_TO_POISON:
                continue
            if (run.state, run.reason) != (state, reason):
                self.verdict.wrong.append(f"{name}: expected {state} {reason}")
            elif state != "REVOKED" and not any(start.event in ("end", "wrong") for start in starts):
                self.verdict.wrong.append(f"{name}: no attempt came to its end")

    def _order(self, flow: Run, run: Run, needs: list[Run]) -> None:
        """See that nothing of a step began before its needs had ended, by their own testimony and by the ledger's."""
        starts = self.testimony.starts.get(run.id)
        if not starts:
            return
        began = starts[0].at
        for need in needs:
            former = self.testimony.starts.get(need.id, [])
            last = former[-1].ended if former else None
            assert need.finished_at is not None
            late = (last is not None and last > began) or to_datetime(
                need.finished_at
            ).timestamp() > began + self._ahead + TOLERANCE
            if late:
                self.verdict.wrong.append(f"{flow.id} {run.step} began before {need.step}[{need.item}] had ended")

    def _join(self, flow: Run, joins: list[Run], items: list[Run]) -> None:
        """See that each attempt of the join saw the result of each item, in their order, and nothing else."""
        exact = [run.result if run.state == "SUCCESS" else None for run in sorted(items, key=lambda run: run.item or 0)]
        for join in joins:
            for saw in self._saw.get(join.id, []):
                if saw != exact:
                    self.verdict.wrong.append(f"{flow.id}: join saw {str(saw)[:200]}, not {str(exact)[:200]}")
            if self.testimony.starts.get(join.id) and not self._saw.get(join.id) and not self._system.deaths:
                self.verdict.wrong.append(f"{flow.id}: join saw nothing")


def judge_flows(
    system: System,
    promise: str,
    attack: str,
    seconds: float,
    notes: Sequence[str] = (),
    *,
    rollback: bool = False,
    confirmed: bool = False,
) -> Row:
    """Return the row of an attack on flows that is over, and had its time."""
    assert isinstance(system, RunnerSystem)
    client = system.server.client()
    with suppress(TimeoutError, AssertionError):
        wait_until(lambda: not client.zcard(f"{NAMESPACE}:outbox"), 30.0, "the outbox is empty")
    judge = Judge(system)
    total = judge.look()
    found = judge.verdict
    explained, unexplained = judge.testimony.duplicates(system.deaths)
    if overlaps := judge.testimony.overlaps(system.deaths):
        found.notes.append(f"{len(overlaps)} ran beside themselves")
    if not (found.lost or found.stuck):
        left = {name: int(client.zcard(f"{NAMESPACE}:{name}")) for name in ("outbox", "flows", "leases", "delayed")} | {
            "messages": system.report().leftovers,
            "slots": len(list(client.scan_iter(f"{NAMESPACE}:holders:*"))),
        }
        found.notes += [f"{count} {name} left over" for name, count in left.items() if count]
    system.facts.append(f"{total:,} step runs of {len(system.accepted):,} flows")
    return Row(
        promise=promise,
        attack=attack,
        runs=len(system.accepted),
        kills=system.deaths.killed,
        lost=tuple(found.lost),
        stuck=tuple(found.stuck),
        explained=explained,
        unexplained=judge.testimony.history(unexplained),
        wrong=tuple(found.wrong),
        notes=(*notes, *found.notes),
        facts=tuple(system.facts),
        seconds=seconds,
        rollback=rollback,
        confirmed=confirmed,
    )
