"""The attack of a forger: messages in every list that a worker reads, and broadcasts."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.fault.forgery import BROADCASTS, by_hand, dump, envelope, mutated
from tests.fault.ours import NAMESPACE, RunnerSystem
from tests.fault.system import Order
from tests.fault.witness import Testimony
from tests.support.deadline import wait_until

if TYPE_CHECKING:
    import redis

    from tests.fault.attacks import Field

LISTS = tuple(
    [f"{NAMESPACE}:queue:default:{priority}" for priority in (0, 5, 9)]
    + ["celery", "celery\x06\x163", "celery\x06\x169"]
)


def forge(field: Field) -> None:
    """Push forgeries and broadcasts; a canary must not run, the worker stays up, good runs behind complete."""
    system, random = field.system, field.random
    assert isinstance(system, RunnerSystem)
    system.start_workers(1, 2)
    worker = system.workers[0]
    system.strangers = True
    with field.server.client() as client:
        wait_until(client.pubsub_numpat, 20.0, "the worker listens to broadcasts")
        for number in range(max(1, field.size.runs // 50)):
            # Submitted for later, so that its message lies in the delayed set while its twins are forged. Who can
            # write to Redis can spoil it, so nothing is expected of it, but that it ends.
            target = Order("good", 0.0, delay=2.0)
            system.submit(target)
            forgeries = list(by_hand(system.witness, "stranger", target.id)) if number == 0 else []
            forgeries += [mutated(random, target.id) for _ in range(100)]
            for raw in forgeries:
                client.execute_command("LPUSH", random.choice(LISTS), raw)
            broadcast(client, target.id, random.randbytes(8))
            system.accept([Order("good", 0.0) for _ in range(50)])
            wait_until(
                lambda: (
                    (system.unfinished() == 0 and not client.exists(*LISTS, f"{NAMESPACE}:claims")) or not worker.alive
                ),
                60.0,
                "the good runs behind complete",
            )
    assert worker.alive, f"a forgery ended the worker: {worker.stderr[-1500:]}"
    assert not Testimony.read(system.witness).starts.get("canary"), "the canary ran"


def broadcast(client: redis.Redis, known: str, junk: bytes) -> None:
    """Send every control command, sound and spoiled, to all workers."""
    # Kombu subscribes by pattern, so the server lists no channels.
    channels = [f"/0.{NAMESPACE}.pidbox", f"/0.{NAMESPACE}.pidbox/x", f"/0.{NAMESPACE}.events/x"]
    channels.append("/0.celery.pidbox")
    heard = 0
    for method, arguments in BROADCASTS:
        for channel in channels:
            filled = json.loads(json.dumps(arguments).replace("KNOWN", known))
            heard += int(client.publish(channel, dump(_control(method, filled))))
    bodies: tuple[Any, ...] = (
        None,
        7,
        [],
        {},
        {"method": None},
        {"method": ["ping"]},
        {"method": "ping", "arguments": 7},
    )
    for channel in channels:
        for body in bodies:
            message = _control("ping", {})
            message["body"] = json.dumps(body)
            client.publish(channel, dump(message))
        for raw in (b"", junk, b"null", b"{}", b"[", dump(envelope(task="canary.shared", run_id="x"))):
            client.publish(channel, raw)
    assert heard >= len(BROADCASTS), "no worker listened to the broadcasts"


def _control(method: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "body": json.dumps(
            {
                "method": method,
                "arguments": arguments,
                "destination": None,
                "pattern": None,
                "matcher": None,
                "ticket": "t",
                "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "nobody"},
            }
        ),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"clock": 1, "expires": time.time() + 60},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": f"{NAMESPACE}.pidbox", "routing_key": ""},
            "priority": 0,
            "body_encoding": "utf-8",
            "delivery_tag": "x",
        },
    }
