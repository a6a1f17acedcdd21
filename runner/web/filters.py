"""What the list of runs can be asked for: the same as ``runner runs``."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from runner.ledger.search import Order
from runner.ledger.search import Query as Search
from runner.model.moment import read_since
from runner.web.requests import read_states

Text = Annotated[str, Field(max_length=200)]


class Filters(BaseModel):
    """A query string; an empty field asks for nothing, as forms send it."""

    job: Annotated[str, Field(max_length=64)] = ""
    state: Annotated[list[str], Field(max_length=6)] = []
    reason: Text = ""
    since: Text = ""
    until: Text = ""
    tag: Text = ""
    worker: Text = ""
    trigger: Text = ""
    key: Text = ""
    text: Text = ""
    order: Order = "newest"
    cursor: Text = ""
    """Of the page before."""

    def search(self, timezone: str) -> Search:
        """Return what the ledger is asked for.

        Raises:
            UsageError: a time or a state is none.
        """
        return Search(
            job=self.job or None,
            states=read_states([state for state in self.state if state]),
            since=read_since(self.since, timezone) if self.since else None,
            until=read_since(self.until, timezone) if self.until else None,
            reason=self.reason or None,
            tag=self.tag or None,
            worker=self.worker or None,
            trigger=self.trigger or None,
            key=self.key or None,
            text=self.text or None,
            order=self.order,
        )

    @property
    def rare(self) -> bool:
        """Whether any of what is asked for seldom is."""
        return any((self.reason, self.until, self.tag, self.worker, self.trigger, self.key, self.order != "newest"))

    def words(self, **more: Any) -> str:
        """Return these as a query string, with ``more``."""
        kept = self.model_dump(exclude_defaults=True, exclude={"cursor"})
        return urlencode({**{key: value for key, value in kept.items() if value}, **more}, doseq=True)
