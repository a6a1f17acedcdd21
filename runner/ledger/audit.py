"""Who did what: acts of people on runs and jobs, the newest ten thousand, and as many submissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.ledger.connection import reaching
from runner.model.run import to_timestamp

if TYPE_CHECKING:
    from runner.ledger.ledger import Ledger

ACTS = ("submit", "rerun", "revoke", "terminate", "forget", "pause", "resume")

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody did. ``at`` is Unix ms by Redis' clock; ``job`` is ``*`` for all jobs."""

    at: int
    act: str
    by: str | None
    job: str | None
    id: str | None
    comment: str | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "at": to_timestamp(self.at),
            "act": self.act,
            "by": self.by,
            "job": self.job,
            "id": self.id,
            "comment": self.comment,
        }


def read_acts(
    ledger: Ledger,
    *,
    limit: int,
    act: str | None = None,
    job: str | None = None,
    by: str | None = None,
    run_id: str | None = None,
    since: float | None = None,
) -> list[Act]:
    """Return acts that fit, newest first.

    Args:
        ledger: where they are kept.
        limit: how many at most.
        act: one of :data:`ACTS`.
        job: only on this job; those on all jobs are shown too.
        by: the name of who did it, or the part before the ``@``.
        run_id: only on this run.
        since: Unix time in seconds.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    found: list[tuple[str, Act]] = []
    for name in ("audit", "audit-submissions"):
        mine = 0
        end = "+"
        while mine < limit:
            with reaching(ledger.settings):
                page: Any = ledger.client.xrevrange(
                    f"{ledger.namespace}:{name}",
                    max=end,
                    min="-" if since is None else str(round(since * 1000)),
                    count=_PAGE,
                )
            for entry_id, fields in page:
                each = _act(entry_id, fields)
                if (
                    (act is None or each.act == act)
                    and (job is None or each.job in (job, "*"))
                    and (by is None or by in (each.by, (each.by or "").partition("@")[0]))
                    and (run_id is None or each.id == run_id)
                ):
                    found.append((entry_id, each))
                    mine += 1
            if len(page) < _PAGE:
                break
            end = f"({page[-1][0]}"
    return [each for _, each in sorted(found, key=lambda pair: _order(pair[0]), reverse=True)][:limit]


def _order(entry_id: str) -> tuple[int, int]:
    at, _, number = entry_id.partition("-")
    return int(at), int(number)


def _act(entry_id: str, fields: dict[str, str]) -> Act:
    told = [fields.get(name) or None for name in ("by", "job", "id", "comment")]
    return Act(_order(entry_id)[0], fields["act"], *told)
