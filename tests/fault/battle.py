"""One attack from the first server to the verdict. Whatever happens, no process is left."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.fault.attacks import Attack, Field, Size
from tests.fault.ours import RunnerSystem
from tests.fault.server import RedisServer
from tests.fault.stock import StockSystem
from tests.fault.system import System
from tests.fault.verdict import Row
from tests.support.proxy import Proxy
from tests.support.rabbit import VirtualHost, rabbit

SYSTEMS: dict[str, type[RunnerSystem] | type[StockSystem]] = {"runner": RunnerSystem, "celery": StockSystem}


def fight(
    attack: Attack, size: Size, *, system: str = "runner", lease: float = 3.0, seed: int = 1, keep: Path | None = None
) -> Row:
    """Run one attack and return its row.

    Args:
        attack: what is done.
        size: how much of it.
        system: ``runner`` or ``celery``.
        lease: seconds; Celery's ``visibility_timeout``.
        seed: of the choices that the attack makes.
        keep: where logs are copied to if the promise was broken.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"fault-{attack.name}-"))
    row: Row | None = None
    try:
        with ExitStack() as stack:
            server = stack.enter_context(RedisServer(folder, fsync=attack.fsync))
            proxy = stack.enter_context(Proxy(("127.0.0.1", server.port)))
            broker: VirtualHost | None = None
            victim: System
            if attack.rabbit:
                broker = stack.enter_context(rabbit(folder / "rabbit")).add_vhost("fault")
                victim = RunnerSystem(folder, server, proxy.port, lease=lease, broker_url=broker.url)
            else:
                victim = SYSTEMS[system](folder, server, proxy.port, lease=lease)
            stack.callback(victim.close)
            begun = time.monotonic()
            notes = []
            try:
                attack.act(Field(victim, server, proxy, Random(seed), size, stack, broker))
            except (AssertionError, TimeoutError) as error:
                notes.append(str(error).splitlines()[0][:120])
            victim.wait_for_all(attack.patience)
            seconds = time.monotonic() - begun
            if dead := [worker for worker in victim.workers if not worker.alive]:
                notes.append(f"{len(dead)} workers ended by themselves")
            alarms = sum(worker.stderr.count("its lease was lost") for worker in victim.workers)
            if alarms and not victim.deaths and not attack.may_lose_leases:
                notes.append(f"{alarms} false alarms: leases called lost that were settled")
            _keep_logs(victim, folder)
            row = attack.judge(
                victim,
                f"{attack.promise}",
                attack.words,
                seconds,
                notes,
                rollback=attack.rollback,
                confirmed=attack.confirmed,
            )
        return row
    finally:
        if keep is not None and (row is None or not row.kept):
            shutil.copytree(folder, keep / f"{system}-{attack.name}-{seed}", dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _keep_logs(system: System, folder: Path) -> None:
    for number, worker in enumerate((*system.workers, *system.ended)):
        (folder / f"worker-{number}-{worker.pid}.log").write_text(worker.stderr)
