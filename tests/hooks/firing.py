"""Firing hooks by hand: what is due, what was lent, and connections that break."""

from __future__ import annotations

from runner.catalog.catalog import Catalog
from runner.errors import Unavailable
from runner.hooks.fire import fire_hooks
from runner.ledger.ledger import Ledger
from runner.model.run import Run
from tests.support.answers import texts
from tests.support.bench import Bench


def fired(bench: Bench, catalog: Catalog) -> dict[str, list[Run]]:
    """Fire all that is due; return the hooks' runs by job."""
    while fire_hooks(bench.ledger, catalog, by="w1"):
        pass
    found: dict[str, list[Run]] = {}
    for run in bench.ledger.runs(limit=1000):
        if run.trigger == "hook":
            found.setdefault(run.job, []).append(run)
    return found


def waiting(bench: Bench) -> int:
    return int(bench.ledger.client.zcard(f"{bench.ledger.namespace}:outbox"))


def come_again(bench: Bench) -> None:
    """Have what was lent and not done with come again, as it does after some time."""
    key = f"{bench.ledger.namespace}:outbox"
    for entry in texts(bench.ledger.client.zrange(key, 0, -1)):
        bench.ledger.client.zadd(key, {entry: 0}, xx=True)


class Broken(Ledger):
    """A ledger whose connection breaks at a given script."""

    at: str
    after: bool

    def script(self, name: str, *args: object) -> object:
        if name == self.at and not self.after:
            raise Unavailable("cut")
        answer = super().script(name, *args)
        if name == self.at:
            raise Unavailable("cut")
        return answer
