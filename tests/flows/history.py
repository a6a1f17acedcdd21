"""Histories of flows: runs that start, fail, are retried and end in any order, looked at late, twice, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from runner.flows.decide import Decision, Outcome, StepState, decide, in_order
from tests.flows.graphs import Graph, Node
from tests.flows.reference import Fate, Plan, possible

MOST_STEPS = 7
MOST_MADE = 2
"""Runs recorded in one go: large steps are recorded in portions."""
MOST_EVENTS = 1000
REASONS = {"skipped": "SKIPPED", "upstream_failed": "UPSTREAM", "cancelled": "REVOKED"}
BEAT = 20
"""Events after which somebody looks and does all that is to be done, whatever was lost before."""
MOVES = {"PENDING": ("STARTED",), "STARTED": ("end", "end", "RETRY"), "RETRY": ("STARTED",)}


def random_graph(random: Random) -> tuple[Graph, dict[str, Plan]]:
    """Return a graph without circles whose steps stand in any order, and what each step would bring."""
    names = [chr(ord("a") + index) for index in range(random.randint(1, MOST_STEPS))]
    steps: dict[str, Node] = {}
    plans: dict[str, Plan] = {}
    for index, name in enumerate(names):
        needs = tuple(need for need in names[:index] if random.random() < 0.4)
        when = random.choice(("succeeded", "succeeded", "failed", "ended")) if needs else "succeeded"
        steps[name] = Node(needs, when, random.random() < 0.25, random.choice((None, None, "child")))
        plans[name] = Plan(random_fates(random))
    random.shuffle(names)
    return {name: steps[name] for name in names}, plans


def random_fates(random: Random) -> tuple[Fate, ...]:
    if random.random() < 0.15:
        return ("SKIPPED",)
    number = random.choice((1, 1, 1, 0, 2, 3, 5))
    fates: tuple[Fate, ...] = ("SUCCESS", "SUCCESS", "SUCCESS", "SUCCESS", "FAILURE", "REVOKED")
    return tuple(random.choice(fates) for _ in range(number))


@dataclass(slots=True)
class World:
    """The ledger of one flow, and what happens to it."""

    graph: Graph
    plans: Mapping[str, Plan]
    random: Random
    on_failure: str = "finish"
    stopping: str | None = None
    items: dict[str, int] = field(default_factory=dict)
    runs: dict[tuple[str, int], str] = field(default_factory=dict)
    end: Outcome | None = None
    terminating: set[str] = field(default_factory=set)
    started_before: list[tuple[str, str]] = field(default_factory=list)
    """A step and a need of it that had a run in no final state when the step was admitted."""

    def states(self) -> dict[str, StepState]:
        """Return the counts as a look at the ledger finds them."""
        found = {}
        for name, number in self.items.items():
            held = [state for (step, _), state in self.runs.items() if step == name]
            found[name] = StepState(number, len(held), {state: held.count(state) for state in set(held)})
        return found

    def decision(self) -> Decision:
        return decide(self.graph, self.states(), on_failure=self.on_failure, stopping=self.stopping)

    def advance(self, *, crashes: float = 0.1) -> None:
        """Look, and do what is to be done, or the first part of it."""
        decision = self.decision()
        for name, reason in decision.skip:
            if self.random.random() > 1 - crashes:
                return
            self.skip(name, reason)
        for name in decision.admit:
            if self.random.random() > 1 - crashes:
                return
            self.admit(name)
        for name in decision.cancel:
            self.revoke(name, ("PENDING", "RETRY"))
        self.terminating |= set(decision.terminate)
        if decision.end is not None:
            self.end = decision.end

    def skip(self, name: str, reason: str) -> None:
        made = sum(step == name for step, _ in self.runs)
        self.runs[name, made] = REASONS[reason]
        self.items[name] = made + 1

    def admit(self, name: str) -> None:
        if name not in self.items:
            self.note_open_needs(name)
        fates = self.plans[name].fates
        self.items[name] = len(fates)
        made = sum(step == name for step, _ in self.runs)
        for item in range(made, min(made + MOST_MADE, len(fates))):
            self.runs[name, item] = "SKIPPED" if fates[item] == "SKIPPED" else "PENDING"

    def note_open_needs(self, name: str) -> None:
        states = self.states()
        for need in self.graph[name].needs:
            if need not in states or not states[need].ended:
                self.started_before.append((name, need))

    def revoke(self, name: str, of: tuple[str, ...]) -> None:
        for (step, item), state in self.runs.items():
            if step == name and state in of:
                self.runs[step, item] = "REVOKED"

    def happen(self) -> None:
        """Let one thing happen to a run that is open."""
        waiting = [key for key, state in self.runs.items() if state in MOVES]
        if not waiting:
            return
        step, item = self.random.choice(waiting)
        move = self.random.choice(MOVES[self.runs[step, item]])
        if move == "end":
            stopped = step in self.terminating and self.random.random() < 0.8
            move = "REVOKED" if stopped else self.plans[step].fates[item]
        self.runs[step, item] = move

    def live(self) -> None:
        """Let things happen until the flow ends; after each, somebody looks once, twice, or not at all."""
        for number in range(MOST_EVENTS):
            self.happen()
            if number % BEAT == BEAT - 1:
                self.advance(crashes=0)
            for _ in range(self.random.choice((0, 0, 1, 1, 2, 3))):
                self.advance()
            if self.end is not None:
                return
        raise AssertionError(f"no end after {MOST_EVENTS} events: {self.states()}, {self.decision()}")

    def finals(self) -> dict[str, tuple[str, ...]]:
        """Return the state of each run, by step, in the order of the items."""
        return {
            name: tuple(self.runs[name, item] for item in range(number)) for name, number in sorted(self.items.items())
        }


def one_by_one(world: World) -> tuple[set[tuple[str, str]], bool]:
    """Do the acts that the rules ask for, one at a time in any order, until there is none; return the acts.

    Also return whether a step was left to be admitted: it would go on in its own time.
    """
    acts: set[tuple[str, str]] = set()
    states = dict(world.states())
    while True:
        found = [pair for pair in possible(world.graph, states, world.on_failure, world.stopping) if pair not in acts]
        if not found:
            return acts, any(act == "admit" for _, act in acts)
        name, act = world.random.choice(found)
        acts.add((name, act))
        if act != "admit":
            mine = states.get(name, StepState())
            made, of = mine.made + 1, REASONS[act]
            states[name] = StepState(made, made, {**mine.counts, of: mine.count(of) + 1})


def is_sorted(graph: Graph) -> bool:
    """Return whether the order of a graph's steps has each one after those that it needs."""
    order = list(in_order(graph))
    return all(order.index(need) < order.index(name) for name in graph for need in graph[name].needs)
