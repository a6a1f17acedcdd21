"""A ledger on a real server, and the steps of a worker without a worker process."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from runner.delivery.claims import PACKAGE
from runner.delivery.courier import open_ledger
from runner.ledger.attempt import Attempts
from runner.ledger.beat import Beat
from runner.ledger.failure import Failure
from runner.ledger.ledger import Ledger
from runner.ledger.scripts import run_script
from runner.ledger.submission import Submission, Submitted
from runner.model.job import JobSpec, Retention
from runner.model.run import Run, State, to_datetime
from runner.settings import Settings, load_settings
from tests.support.claims import claim
from tests.support.rabbit import chosen_broker, shared_node, virtual_host
from tests.support.servers import Server

LEASE = 3.0
ERROR = Failure("ValueError", "no", None, {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"})


class Bench:
    """A ledger, and every operation of a worker on it, called by hand."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.attempts = Attempts(ledger)
        self.claimed: dict[str, str] = {}

    # -- submitting

    def job(self, name: str = "job", **retention: Any) -> JobSpec:
        return JobSpec(name=name, task="module:attribute", digest="sha256:0", retention=Retention(**retention))

    def submitted(self, *, job: JobSpec | None = None, **options: Any) -> Submitted:
        given: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "job": job or self.job(),
            "params": {},
            "queue": "default",
            "priority": 5,
            "trigger": "cli",
            **options,
        }
        return self.ledger.submit(Submission(**given))

    def submit(self, **options: Any) -> Run:
        run = self.submitted(**options).run
        assert run is not None
        return run

    # -- working

    def claim(self) -> str:
        token = self.try_claim()
        assert token is not None, "nothing to claim"
        return token

    def try_claim(self) -> str | None:
        token = secrets.token_hex(8)
        answer = claim(self.ledger, token, LEASE, "w1")
        if answer is None:
            return None
        self.claimed[token] = json.loads(answer[1])["headers"]["id"]
        return token

    def claimed_id(self) -> str:
        return self.claimed[self.claim()]

    def claim_of(self, run: Run) -> str:
        """Claim the message of this run, or return a token without a claim."""
        found = "none"
        others = []
        while (token := self.try_claim()) is not None:
            if self.claimed[token] == run.id:
                found = token
                break
            others.append(token)
        for token in others:
            self.ledger.script("hand_back", 0, "not mine", "", token)
        return found

    def start(self, run: Run) -> str:
        token = self.claim_of(run)
        self.attempts.start(run.id, token, "w1", run.job)
        return token

    def end(self, state: State, *, job: JobSpec | None = None) -> tuple[Run, str]:
        run = self.submit(job=job)
        token = self.start(run)
        if state is State.SUCCESS:
            self.attempts.succeed(run.id, token, "1")
        elif state is State.FAILURE:
            self.attempts.fail(run.id, token, "exception", ERROR)
        else:
            self.ledger.revoke(run.id, by="me", terminate=True)
            self.attempts.lose(run.id, token, {"worker": "w1"})
        return run, token

    def at(self, state: State) -> tuple[Run, str]:
        """Return a run in ``state`` and the token of its last start."""
        if state in (State.SUCCESS, State.FAILURE, State.REVOKED):
            run, token = self.end(state)
            return self.ledger.get(run.id), token
        run = self.submit()
        token = ""
        if state is not State.PENDING:
            token = self.start(run)
        if state is State.RETRY:
            self.attempts.retry(run.id, token, 0.0, ERROR)
            self.make_due(run.id)
        return self.ledger.get(run.id), token

    # -- reading, and changing times

    def messages(self) -> list[str]:
        """Return the ids of the waiting messages, the next one first."""
        found = []
        for priority in range(9, -1, -1):
            key = f"{self.ledger.namespace}:queue:default:{priority}"
            found += [json.loads(raw)["headers"]["id"] for raw in reversed(self.ledger.client.lrange(key, 0, -1))]
        return found

    def held(self) -> int:
        return int(self.ledger.client.hlen(f"{self.ledger.namespace}:claims"))

    def leftovers(self, run_id: str) -> list[str]:
        """Return the keys and indexes that still mention a run."""
        client = self.ledger.client
        found = list(client.scan_iter(f"*{run_id}*"))
        for key in client.scan_iter(f"{self.ledger.namespace}:*"):
            if client.type(key) == "zset" and client.zscore(key, run_id) is not None:
                found.append(key)
        return found

    def now(self) -> float:
        seconds, micros = self.ledger.client.time()
        return float(seconds) + micros / 1e6

    def beat(self) -> Beat:
        record: dict[str, str | int] = {
            "host": "h",
            "pid": 1,
            "queues": "default",
            "concurrency": 1,
            "pool": "prefork",
            "started_at": 1,
        }
        return self.ledger.beat(worker="w1", keep=15.0, lease=LEASE, record=record)

    def make_expire(self, run_id: str) -> None:
        """Move the expiry of a run into the past, if it has one. With a real clock, the order would depend on luck."""
        client, namespace = self.ledger.client, self.ledger.namespace
        if client.hexists(f"{namespace}:run:{run_id}", "expires_at"):
            client.hset(f"{namespace}:run:{run_id}", "expires_at", 1)
            client.zadd(f"{namespace}:expiring", {run_id: 1}, xx=True)

    def make_due(self, run_id: str) -> None:
        self.ledger.client.zadd(f"{self.ledger.namespace}:delayed", {run_id: 0}, xx=True)
        self.beat()

    def let_leases_end(self, *tokens: str, sweep: bool = True) -> None:
        """Move the ends of leases into the past; ``sweep``: pretend that sweeps ran all the time."""
        if sweep:
            now = int(self.now() * 1000) - 1
            self.ledger.client.hset(f"{self.ledger.namespace}:sweep", mapping={"last": now, "hold_until": 0})
        self.ledger.client.zadd(f"{self.ledger.namespace}:leases", dict.fromkeys(tokens, 1), xx=True)

    def pretend_pause(self) -> None:
        """Make the last sweep look as old as two leases."""
        then = round((self.now() - 2 * LEASE) * 1000)
        self.ledger.client.hset(f"{self.ledger.namespace}:sweep", mapping={"last": then, "hold_until": 0})

    def renew(self, *tokens: str) -> list[str]:
        gone = run_script(
            self.ledger.client, self.ledger.namespace, "renew", round(LEASE * 1000), *tokens, package=PACKAGE
        )
        return list(gone)

    def wait_past(self, moment: str | None, plus: float = 0.002) -> None:
        assert moment is not None
        self.wait_until(lambda: self.now() > to_datetime(moment).timestamp() + plus)

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"


@pytest.fixture(scope="session")
def server_settings(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("ledger")
    (folder / "jobs.d").mkdir()
    with ExitStack() as stack:
        text = f'redis_url: "{redis_server.url}"\n'
        if chosen_broker() == "rabbitmq":
            text += f'broker_url: "{stack.enter_context(virtual_host(shared_node())).url}"\n'
        (folder / "runner.yaml").write_text(text)
        yield load_settings(folder, environ={})


@pytest.fixture
def settings(server_settings: Settings) -> Settings:
    return replace(server_settings, namespace=f"t-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def bench(settings: Settings) -> Iterator[Bench]:
    ledger = open_ledger(settings)
    yield Bench(ledger)
    ledger.close()


@pytest.fixture
def other(server_settings: Settings) -> Iterator[Ledger]:
    ledger = open_ledger(replace(server_settings, namespace=f"t-{uuid.uuid4().hex[:12]}"))
    yield ledger
    ledger.close()
