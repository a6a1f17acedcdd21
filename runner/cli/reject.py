"""``runner reject``."""

from __future__ import annotations

from runner.cli.approve import answer, takes_answer
from runner.cli.terminal.group import verb


@verb(example='runner reject 3f2a9c41 --comment "rows are missing"')
@takes_answer
def command(ids: tuple[str, ...], comment: str | None, as_json: bool) -> int:
    """Reject steps that wait for an approval: they end REVOKED, rejected.

    ID is the run of the step, or its flow if that waits for one approval only. A run that does not wait for an approval
    is refused with exit code 5.
    """
    return answer(ids, approved=False, comment=comment, as_json=as_json)
