"""A renewal that meets the end of an attempt: the claim is gone because it was settled, not because it was lost."""

from __future__ import annotations

import time
from pathlib import Path

from tests.fault.boundaries import script_of
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.server import RedisServer
from tests.fault.system import Order
from tests.fault.witness import Start, Testimony
from tests.support.deadline import wait_until
from tests.support.proxy import Command, Proxy, Verdict


def test_a_claim_that_was_settled_during_its_renewal_was_not_lost(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server, Proxy(("127.0.0.1", server.port)) as proxy:
        system = RunnerSystem(tmp_path, server, proxy.port)
        held = submitted = False

        def gate(command: Command) -> Verdict:
            nonlocal held
            script = script_of(command)
            if script == "take" and command.words[4]:
                # It settles the run before. Its answer comes late, so that the renewal's is read first.
                proxy.delay = 0.3
            elif script == "renew" and submitted and not held and system.ledger.get(order.id).state == "STARTED":
                held = True
                wait_until(lambda: system.ledger.get(order.id).final, 20.0, "the run ends")
            return "pass"

        order = Order("good", 1.5)
        # From the start, since connections from before know no gate.
        proxy.gate = gate
        try:
            system.start_workers(1, 1)
            worker = system.workers[0]
            children = worker.children
            system.submit(order)
            submitted = True
            wait_until(lambda: held and system.ledger.get(order.id).final, 30.0, "a renewal meets the settling")
            time.sleep(0.7)
            proxy.gate, proxy.delay = None, 0.0
            behind = Order("good", 0.5)
            system.submit(behind)
            wait_until(lambda: system.ledger.get(behind.id).final, 30.0, "the next run ends")
            assert "lease was lost" not in worker.stderr
            assert worker.children == children, "an innocent process was killed"
            assert system.ledger.get(behind.id).losses == 0
        finally:
            proxy.gate, proxy.delay = None, 0.0
            system.close()


def test_what_was_settled_while_the_main_loop_waits_for_redis_was_not_lost(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        system = RunnerSystem(tmp_path, server, server.port, lease=1.5)
        try:
            system.start_workers(1, 4)
            worker = system.workers[0]
            children = set(worker.children)
            running = [Order("good", 2.0) for _ in range(4)]
            for order in running:
                system.submit(order)
            wait_until(lambda: all(system.ledger.get(order.id).attempts for order in running), 20.0, "all run")
            server.kill()
            # From its third try on, the main loop is longer away than its children and the thread that renews.
            worker.wait_for(r"Trying again in .*\(3/", 30.0)
            server.start()
            wait_until(lambda: all(system.ledger.get(order.id).final for order in running), 30.0, "all are settled")
            behind = Order("good", 0.0)
            system.submit(behind)
            wait_until(lambda: system.ledger.get(behind.id).final, 30.0, "the next run ends")
            assert "lease was lost" not in worker.stderr
            assert set(worker.children) == children, "an innocent process was killed"
            assert [system.ledger.get(order.id).losses for order in running] == [0] * 4
        finally:
            system.close()


def test_a_worker_that_lost_its_lease_ends_the_zombie(tmp_path: Path) -> None:
    with RedisServer(tmp_path, fsync="no") as server:
        system = RunnerSystem(tmp_path, server, server.port, lease=2.0)
        order = Order("good", 300.0)

        def starts() -> list[Start]:
            return Testimony.read(system.witness).starts.get(order.id, [])

        try:
            system.start_workers(1, 2)
            worker = system.workers[0]
            system.submit(order)
            wait_until(starts, 30.0, "the run starts")
            # As the sweep of another worker does it that heard nothing for a lease.
            token = system.ledger.client.hget(f"{NAMESPACE}:run:{order.id}", "token")
            assert system.ledger.script("lost", order.id, token, '{"worker": "somebody"}') == "RETRY"
            worker.wait_for("its lease was lost, its process is ended", 30.0)
            zombie = starts()[0].pid
            wait_until(lambda: zombie not in worker.children, 30.0, "the zombie is dead")
            wait_until(lambda: len(starts()) == 2, 30.0, "it starts again")
            assert starts()[1].pid != zombie
            run = system.ledger.get(order.id)
            assert (str(run.state), run.attempts, run.losses) == ("STARTED", 2, 1)
            system.ledger.revoke(order.id, by="test", terminate=True)
            wait_until(lambda: system.ledger.get(order.id).final, 30.0, "it ends")
            assert worker.alive
        finally:
            system.close()
