"""``runner reject``."""

from __future__ import annotations

from runner.cli.approve import answer, takes_answer
from runner.cli.terminal.group import verb


@verb(example='runner reject 3f2a9c41 --comment "rows are missing"')
@takes_answer
def command(ids: tuple[str, ...], comment: str | None, as_json: bool) -> int:
    """Reject steps that are waiting for approval: they end in REVOKED with reason rejected.

    ID is the run of the step, or of its flow if only one step of it is waiting. A run that is not waiting for
    approval is refused with exit code 5.
    """
    return answer(ids, approved=False, comment=comment, as_json=as_json)
