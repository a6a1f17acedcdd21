"""Every ledger operation, broken off at each command it sends: one live message for a run that is not final, always."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from runner.errors import Unavailable
from runner.ledger.attempt import Attempts, Dropped
from runner.ledger.batch import Batch
from runner.ledger.failure import Failure
from runner.ledger.ledger import Ledger
from runner.ledger.submission import Entry, Submission
from runner.model.job import JobSpec
from runner.settings import load_settings
from tests.fault.boundaries import check
from tests.fault.ours import NAMESPACE
from tests.fault.server import RedisServer
from tests.support.claims import claim
from tests.support.proxy import Command, Proxy, Verdict

LEASE = 30.0
JOB = JobSpec(name="job", task="module:attribute", digest="sha256:0")
ERROR = Failure("ValueError", "no", None, {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"})


@dataclass
class Bench:
    """A ledger that is reached directly, and one whose commands pass the proxy."""

    direct: Ledger
    broken: Ledger
    proxy: Proxy
    asked: Question | None = None
    """What was asked last."""

    def submit(self, ledger: Ledger, run_id: str, eta: float | None = None) -> None:
        ledger.submit(
            Submission(
                id=run_id, job=JOB, params={"x": 1}, queue="default", priority=5, trigger="api", key=run_id, eta=eta
            )
        )

    def submit_many(self, ledger: Ledger, run_id: str) -> None:
        common = Submission(id="", job=JOB, params={}, queue="default", priority=5, trigger="api")
        Batch(ledger, common, [Entry(key, {"x": 1}, key) for key in (run_id, f"{run_id}-b")]).outcomes()

    def claim(self, ledger: Ledger) -> str:
        token = secrets.token_hex(16)
        claim(ledger, token, LEASE, "w")
        return token

    def waiting(self, run_id: str, act: Callable[[], object]) -> Callable[[], object]:
        self.submit(self.direct, run_id)
        return act

    def claimed(self, run_id: str) -> str:
        self.submit(self.direct, run_id)
        return self.claim(self.direct)

    def started(self, run_id: str) -> str:
        token = self.claimed(run_id)
        assert not isinstance(Attempts(self.direct).start(run_id, token, "w", JOB.name), Dropped)
        return token


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("boundaries")
    (folder / "project" / "jobs.d").mkdir(parents=True)
    with RedisServer(folder, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:

        def ledger(port: int) -> Ledger:
            environ = {"RUNNER_REDIS_URL": f"redis://127.0.0.1:{port}/0", "RUNNER_NAMESPACE": NAMESPACE}
            return Ledger.open(load_settings(folder / "project", environ=environ))

        direct, broken = ledger(server.port), ledger(proxy.port)
        assert direct.namespace == NAMESPACE
        yield Bench(direct, broken, proxy)
        direct.close()
        broken.close()


@dataclass(frozen=True)
class Question:
    """What a taker asks: for a run, and to settle the one before."""

    last: tuple[str, str, str]
    token: str

    def ask(self, ledger: Ledger, *, settles: bool = True) -> Any:
        last = self.last if settles else ("", "", "")
        return ledger.script("take", *last, self.token, round(LEASE * 1000), "w", 1, "jobs", "default")


def take(bench: Bench, run_id: str, *, settles: bool) -> Callable[[], object]:
    bench.direct.client.hset(f"{NAMESPACE}:known:jobs", JOB.name, JOB.digest)
    former = f"{run_id}-b"
    last = (former, bench.started(former), "{}") if settles else ("", "", "")
    bench.submit(bench.direct, run_id)
    # The same each time, so that the question can be asked again.
    bench.asked = asked = Question(last, run_id.replace("-", ""))
    return lambda: asked.ask(bench.broken)


Step = Callable[[Bench, str], Callable[[], object]]
"""Prepares a run over a direct connection, and returns the call that is then interrupted."""


def _later(bench: Bench, run_id: str) -> Callable[[], object]:
    return lambda: bench.submit(bench.broken, run_id, eta=4102444800.0)


STEPS: dict[str, Step] = {
    "submit": lambda bench, run_id: lambda: bench.submit(bench.broken, run_id),
    "submit-later": _later,
    "submit-many": lambda bench, run_id: lambda: bench.submit_many(bench.broken, run_id),
    "claim": lambda bench, run_id: bench.waiting(run_id, lambda: bench.claim(bench.broken)),
    "take": lambda bench, run_id: take(bench, run_id, settles=False),
    "take-settling": lambda bench, run_id: take(bench, run_id, settles=True),
    "start": lambda bench, run_id: _with(
        bench.claimed(run_id), lambda token: bench.broken.script("start", run_id, token, "w", 1, JOB.name)
    ),
    "settle": lambda bench, run_id: _with(
        bench.started(run_id), lambda token: bench.broken.script("settle", run_id, token, "SUCCESS", "", "{}", "")
    ),
    "retry": lambda bench, run_id: _with(
        bench.started(run_id),
        lambda token: bench.broken.script("retry", run_id, token, 60000, "{}", ERROR.error()),
    ),
    "lost": lambda bench, run_id: _with(
        bench.started(run_id), lambda token: bench.broken.script("lost", run_id, token, '{"at":1}')
    ),
    "hand-back": lambda bench, run_id: _with(
        bench.claimed(run_id), lambda token: bench.broken.script("hand_back", 0, "back", "", token)
    ),
    "hand-back-started": lambda bench, run_id: _with(
        bench.started(run_id), lambda token: bench.broken.script("hand_back", 0, "back", "", token)
    ),
    "revoke": lambda bench, run_id: bench.waiting(run_id, lambda: bench.broken.revoke(run_id, by="me")),
}


def _with(token: str, act: Callable[[str], object]) -> Callable[[], object]:
    return lambda: act(token)


@pytest.mark.parametrize("again", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("harm", ["cut-before", "cut-after"])
@pytest.mark.parametrize("scripts", ["known", "unknown"])
@pytest.mark.parametrize("step", STEPS)
def test_one_live_message_at_each_boundary(bench: Bench, step: str, scripts: str, harm: Verdict, again: bool) -> None:
    boundary = 0
    reached = True
    while reached:
        boundary += 1
        assert boundary < 20, "it never comes to its end"
        # Unlike a prune or a forget, this leaves nothing of the runs before.
        bench.direct.client.flushdb()
        run_id = str(uuid.uuid4())
        act = STEPS[step](bench, run_id)
        if scripts == "unknown":
            # As after a restart or a failover: the script is sent again, which is one command more.
            bench.direct.client.script_flush()
        count = 0

        def gate(command: Command, at: int = boundary) -> Verdict:
            nonlocal count
            count += 1
            return harm if count == at or (again and count > at) else "pass"

        bench.broken.client.connection_pool.disconnect()
        bench.proxy.gate = gate
        try:
            with suppress(Unavailable, redis.RedisError):
                act()
        finally:
            bench.proxy.gate = None
        reached = count >= boundary
        _check(bench, run_id)
        if step == "submit-many":
            # The batch is there as a whole, or not at all.
            both = (f"{NAMESPACE}:run:{run_id}", f"{NAMESPACE}:run:{run_id}-b")
            assert bench.direct.client.exists(*both) in (0, 2)
            _check(bench, f"{run_id}-b")
            bench.submit_many(bench.direct, run_id)
            assert bench.direct.client.exists(*both) == 2
        if step.startswith("take"):
            _check(bench, f"{run_id}-b")
            _ask_again(bench, run_id)
        if step.startswith("submit"):
            # Submitted again under the same id and key, it is the same run, with one message.
            bench.submit(bench.direct, run_id)
            _check(bench, run_id)
    assert boundary > 1, "no command passed the proxy"


def _ask_again(bench: Bench, run_id: str) -> None:
    """Ask as a taker does whose answer was lost: the last run is settled once, the next one is started once."""
    asked = bench.asked
    assert asked is not None
    former, token, meta = asked.last
    if former:
        Attempts(bench.direct).settle(former, token, meta)
        assert bench.direct.get(former).state == "SUCCESS"
    for _ in range(2):
        _, word, started, _, _, _, attempts, *_ = asked.ask(bench.direct, settles=False)
        assert (word, started, attempts) == ("go", run_id, "1")
    assert bench.direct.get(run_id).losses == 0
    _check(bench, run_id)


def _check(bench: Bench, run_id: str) -> None:
    check(bench.direct.client, [run_id], "broken off")
