"""The types of faults between the ledger and the queues, with their texts."""

from __future__ import annotations

from dataclasses import field

from runner._dataclass import dataclass
from runner.ledger.health.finding import EXAMPLES, Finding, Level
from runner.model.plural import things


@dataclass(slots=True)
class Tally:
    """The number of faults, and the first of them."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, *names: str) -> None:
        """Add names."""
        self.count += len(names)
        self.examples += names[: max(0, EXAMPLES - len(self.examples))]


@dataclass(frozen=True, slots=True)
class FaultType:
    """A type of fault. ``found``: the text if there are some; ``none``: the text if there are none."""

    name: str
    level: Level
    found: str
    remedy: str
    none: str
    repairable: bool = True


KINDS = (
    FaultType(
        "runs-without-message",
        Level.PROBLEM,
        "{runs} nothing will ever start: no queue has a message of it",
        "write the message again",
        "every run that waits has its message",
    ),
    FaultType(
        "runs-without-claim",
        Level.PROBLEM,
        "{runs} STARTED, and no worker holds it",
        "count a lost attempt and redeliver it",
        "every run that is STARTED is held by a worker",
    ),
    FaultType(
        "duplicate-messages",
        Level.WARNING,
        "{runs} with more than one message",
        "keep one of them",
        "no run has more than one message",
    ),
    FaultType(
        "dead-leases",
        Level.PROBLEM,
        "{claims} held by workers that are gone, which nobody gave back",
        "give them back",
        "no claim outlived its lease",
    ),
    FaultType(
        "claims",
        Level.PROBLEM,
        "{claims} that no sweep would find: without lease, unreadable, or a lease without claim",
        "give each a lease, remove what holds nothing",
        "claims and leases fit together",
    ),
    FaultType(
        "records",
        Level.PROBLEM,
        "{records} damaged: something else than the runner wrote into them",
        "remove them",
        "every record can be read",
    ),
    FaultType(
        "indexes",
        Level.PROBLEM,
        "{entries} of an index are missing: those runs are not listed, swept or pruned",
        "add them",
        "every record is in its indexes",
    ),
    FaultType(
        "strays",
        Level.WARNING,
        "{entries} of an index without a run, or with one in another state",
        "remove them",
        "every entry of an index has its run",
    ),
    FaultType(
        "slots",
        Level.PROBLEM,
        "{runs} with a slot or pass that they have no right to, or waiting for one, or for a job, without need",
        "free those, start these",
        "every slot belongs to a run",
    ),
    FaultType(
        "undecided",
        Level.WARNING,
        "{runs} could not be judged: their queue is long and moves fast",
        "look again when it is shorter",
        "",
        repairable=False,
    ),
    # The following are not faults: workers remove them in time.
    FaultType(
        "leftover-messages",
        Level.OK,
        "{messages} of runs that ended or were forgotten, which a worker drops when it comes to them",
        "remove them now",
        "no messages of runs that ended",
    ),
    FaultType(
        "queue-names",
        Level.OK,
        "{names} of empty queues that no worker takes from",
        "remove them",
        "no names of queues that nobody uses",
    ),
)

_NOUNS = {"run": "runs", "claim": "claims", "record": "records", "message": "messages", "name": "names"}


def finding_of(kind: FaultType, tally: Tally) -> Finding:
    """Return the finding for a tally."""
    if not tally.count:
        return Finding(name=kind.name, level=Level.OK, what=kind.none)
    counted = {many: things(tally.count, one) for one, many in _NOUNS.items()}
    counted["entries"] = "1 entry" if tally.count == 1 else f"{tally.count} entries"
    return Finding(
        name=kind.name,
        level=kind.level,
        what=kind.found.format(**counted),
        remedy=f"runner doctor --repair: {kind.remedy}" if kind.repairable else kind.remedy,
        repairable=kind.repairable,
        count=tally.count,
        examples=tuple(tally.examples),
    )
