"""Redis refuses in the middle of something: what a worker holds by then is not forgotten under a renewed lease."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from pathlib import Path

from runner.ledger.scripts import digest
from tests.fault.boundaries import script_of
from tests.fault.forgery import dump, envelope
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.server import RedisServer
from tests.fault.system import Order
from tests.support.deadline import wait_until
from tests.support.proxy import Command, Proxy, Verdict


def test_a_plain_clients_message_that_cannot_be_adopted_for_now_is_adopted_later(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        system = RunnerSystem(tmp_path, server, proxy.port)
        refused: list[Command] = []

        def gate(command: Command) -> Verdict:
            if script_of(command) == "submit" and not refused:
                refused.append(command)
                with server.client() as client:
                    client.config_set("maxmemory", "1mb")
            return "pass"

        proxy.gate = gate
        run_id = str(uuid.uuid4())
        try:
            system.start_workers(1, 1)
            worker = system.workers[0]
            with server.client() as client:
                client.lpush("celery", dump(envelope(task="work", run_id=run_id, params={"kind": "good"}, ours=False)))
                worker.wait_for("Redis is away|refuses to hand out work", 20.0)
                assert refused
                client.config_set("maxmemory", "0")
                wait_until(lambda: client.hget(f"{NAMESPACE}:run:{run_id}", "state") == "SUCCESS", 30.0, "it is run")
                assert client.hlen(f"{NAMESPACE}:claims") == 0
        finally:
            proxy.gate = None
            system.close()


def test_a_worker_ends_although_an_outcome_can_not_be_written(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        system = RunnerSystem(tmp_path, server, proxy.port, grace=1.0)
        refused = threading.Event()

        def gate(command: Command) -> Verdict:
            if script_of(command) != "lost":
                return "pass"
            refused.set()
            return "cut-before"

        proxy.gate = gate
        order = Order("good", 600.0)
        try:
            system.start_workers(1, 1)
            worker = system.workers[0]
            system.submit(order)
            wait_until(lambda: system.ledger.get(order.id).state == "STARTED", 20.0, "it runs")
            wait_until(lambda: children(system.witness), 20.0, "its process is known")
            os.kill(children(system.witness)[0], signal.SIGKILL)
            assert refused.wait(20.0)
            worker.signal(signal.SIGTERM)
            assert worker.wait(60.0) == 0
            assert "cannot be written" in worker.stderr
            assert system.ledger.get(order.id).state == "STARTED", "another worker takes it back"
        finally:
            proxy.gate = None
            system.close()


def children(witness: Path) -> list[int]:
    """Return the processes that began a run."""
    return [int(line.split()[2]) for line in witness.read_text().splitlines()] if witness.exists() else []


def test_a_message_that_cannot_be_looked_up_for_now_is_no_dead_letter(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        system = RunnerSystem(tmp_path, server, proxy.port)
        broken, tried = True, threading.Semaphore(0)

        def gate(command: Command) -> Verdict:
            reads = command.name == "EVALSHA" and command.words[1].decode() == digest("runner.ledger", "read")
            if not (broken and reads):
                return "pass"
            tried.release()
            return "cut-before"

        proxy.gate = gate
        order = Order("good", 0.0, delay=3600.0)
        try:
            system.start_workers(1, 1)
            worker = system.workers[0]
            takers = worker.children
            system.submit(order)
            # As if this worker were behind on YAML: it asks the ledger what to do about such a run.
            key = f"{NAMESPACE}:queue:default:5"
            with server.client() as client:
                client.zrem(f"{NAMESPACE}:delayed", order.id)
                client.lpush(key, dump(envelope(task="newer", run_id=order.id)))
                client.lpush(f"{NAMESPACE}:ring:default", 1)
                # Redis-py tries twice each time.
                assert all(tried.acquire(timeout=30.0) for _ in range(6)), "the taker asks again"
                broken = False
                wait_until(lambda: "not declared" in (system.ledger.get(order.id).detail or ""), 30.0, "it is refused")
                assert client.llen(f"{NAMESPACE}:dead-letters") == 0
                assert client.zscore(f"{NAMESPACE}:delayed", order.id), "it is to be looked at again"
                assert client.hlen(f"{NAMESPACE}:claims") == 0
                assert worker.children == takers, "a taker died of it"
        finally:
            proxy.gate = None
            system.close()
