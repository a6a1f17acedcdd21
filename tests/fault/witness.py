"""Reads what the runs themselves wrote down, and holds it against the deaths that the attacks caused.

The ledger is not asked here: what it hides, the witness tells.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

GRACE = 1.0
"""Seconds after the end of a job during which a death still takes its outcome along."""
AGAIN = 5.0
"""Seconds after an outage of Redis within which a process that kept an outcome has written it."""


@dataclass
class Start:
    """One start of a run, as the run itself told it; times are seconds of the machine's monotonic clock."""

    run_id: str
    attempt: int
    pid: int
    parent: int
    at: float
    ended: float | None = None
    event: str | None = None
    """How the job ended: ``end``, ``again``, ``wrong``; None if it was broken off."""

    def __str__(self) -> str:
        until = "broken off" if self.ended is None else f"to {self.ended:.3f}"
        return f"attempt {self.attempt} in {self.pid} of {self.parent} from {self.at:.3f} {until}"


@dataclass
class Deaths:
    """Which processes the attack ended or froze, and when."""

    _at: dict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    killed: int = 0
    outages: list[tuple[float, float]] = field(default_factory=list)
    """When Redis did not answer: until then, and a little longer, outcomes are kept by the processes."""

    def _last(self, start: Start) -> float:
        """Return until when a death takes the outcome of a start along."""
        if start.ended is None:
            return float("inf")
        last = start.ended + GRACE
        return max([last, *(until + AGAIN for since, until in self.outages if since <= last and until >= start.ended)])

    def add(self, pids: list[int], since: float, until: float | None = None) -> None:
        """Note that processes were dead from ``since`` on, or frozen until ``until``."""
        for pid in pids:
            self._at[pid].append((since, since if until is None else until))

    def __bool__(self) -> bool:
        return bool(self._at)

    def explain(self, start: Start) -> bool:
        """Whether a death or a freeze of its process, or of its worker, broke off this start."""
        last = self._last(start)
        return any(
            since <= last and until >= start.at - 0.2
            for pid in (start.pid, start.parent)
            for since, until in self._at.get(pid, ())
        )

    def ended(self, start: Start) -> float | None:
        """Return when a death broke off this start for good; None if nothing did, or it was a freeze."""
        last = self._last(start)
        return min(
            (
                since
                for pid in (start.pid, start.parent)
                for since, until in self._at.get(pid, ())
                if since == until and start.at - 0.2 <= since <= last
            ),
            default=None,
        )

    def froze(self, start: Start) -> bool:
        """Whether its process, or its worker, was frozen or cut off and came back: what it did then, a zombie did."""
        last = float("inf") if start.ended is None else start.ended
        return any(
            since < until and since <= last and until >= start.at
            for pid in (start.pid, start.parent)
            for since, until in self._at.get(pid, ())
        )


@dataclass(frozen=True)
class Testimony:
    """What the witness tells of all runs."""

    __test__ = False

    starts: dict[str, list[Start]]

    @classmethod
    def read(cls, path: Path) -> Testimony:
        """Read the file that all runs wrote to."""
        starts: dict[str, list[Start]] = defaultdict(list)
        open_ones: dict[tuple[str, int], Start] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            run_id, attempt, pid, parent, event, at = line.split()
            if event == "start":
                start = Start(run_id, int(attempt), int(pid), int(parent), float(at))
                starts[run_id].append(start)
                open_ones[run_id, start.pid] = start
            elif (begun := open_ones.get((run_id, int(pid)))) is not None:
                begun.ended, begun.event = float(at), event
        return cls(dict(starts))

    def duplicates(self, deaths: Deaths) -> tuple[int, list[Start]]:
        """Count the second starts that a death explains, and list those that nothing explains.

        A start after one that failed and asked for a retry is none beyond.
        """
        explained, unexplained = 0, []
        for starts in self.starts.values():
            for former, later in itertools.pairwise(starts):
                if former.event == "again":
                    continue
                if deaths.explain(former):
                    explained += 1
                else:
                    unexplained.append(later)
        return explained, unexplained

    def history(self, starts: list[Start]) -> tuple[str, ...]:
        """Return every start of the run of each of these starts, as text."""
        return tuple(f"{start.run_id}: {', '.join(map(str, self.starts[start.run_id]))}" for start in starts)

    def restarts(self, deaths: Deaths) -> list[float]:
        """Return the seconds from each death to the next start of the run that it broke off."""
        return [
            later.at - died
            for starts in self.starts.values()
            for former, later in itertools.pairwise(starts)
            if former.event != "again" and (died := deaths.ended(former)) is not None
        ]

    def overlaps(self, deaths: Deaths) -> list[Start]:
        """Return the starts that were made while the one before still ran, and came to its end unfrozen."""
        return [
            later
            for starts in self.starts.values()
            for former, later in itertools.pairwise(starts)
            if former.ended is not None and later.at < former.ended and not deaths.froze(former)
        ]
