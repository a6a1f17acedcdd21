"""The processes of one worker share no random numbers, and the worker warns about other things that they share."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from runner.attempt.inherited import Generators
from tests.support.deadline import wait_until
from tests.support.project import Project

MODULE = '''
import os, random, socket, ssl, threading, uuid
from pathlib import Path

OWN = random.Random()
SEEDED = random.Random(42)


class Dice(random.Random):
    """As libraries make them."""


DICE = Dice()
random.seed(7)


def draws(folder):
    """Draw numbers, once all processes are here."""
    Path(folder, str(os.getpid())).touch()
    while len(os.listdir(folder)) < 3:
        pass
    return [each.random() for each in (random, OWN, SEEDED, DICE)] + [ssl.RAND_bytes(8).hex(), str(uuid.uuid4())]
'''

HOOK = """
import os
from pathlib import Path

from celery.signals import worker_process_init


@worker_process_init.connect
def connect(**_):
    Path("inits", str(os.getpid())).touch()


def setup():
    pass
"""

SHARES = """
import os, socket, threading, time

SOCKET = socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
threading.Thread(target=time.sleep, args=(600,), name="not-there", daemon=True).start()


def job():
    pass
"""


def test_processes_draw_different_numbers(make_project: Callable[..., Project], tmp_path: Path) -> None:
    params = {"folder": {"type": "string"}}
    project = make_project({"draws": {"task": "dice:draws", "params": params}}, {"dice.py": MODULE})
    together = tmp_path / "together"
    together.mkdir()
    with project.worker(concurrency=3):
        ids = [project.submit("draws", "-p", f"folder={together}") for _ in range(3)]
        drawn = [project.wait_for_state(run_id, "SUCCESS")["result"] for run_id in ids]
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == 3


def test_the_hook_is_called_in_each_process(make_project: Callable[..., Project]) -> None:
    project = make_project(
        {"pid": {"task": "os:getpid"}, "dies": {"task": "os:_exit", "args": [1], "max_deliveries": 1}},
        {"boot.py": HOOK},
        {"setup": "boot:setup"},
    )
    folder = project.path / "inits"
    folder.mkdir()
    with project.worker(concurrency=2):
        run = project.wait_for_state(project.submit("pid"), "SUCCESS")
        assert folder / str(run["result"]) in folder.iterdir()
        before = set(folder.iterdir())
        project.wait_for_state(project.submit("dies"), "FAILURE")
        wait_until(lambda: set(folder.iterdir()) - before, 30.0, "the hook of the next process is called")


def test_a_worker_tells_what_its_processes_would_share(make_project: Callable[..., Project]) -> None:
    project = make_project({"shares": {"task": "shares:job"}}, {"shares.py": SHARES})
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with project.worker(env={"PORT": str(port)}) as worker:
            log = worker.log
    assert f"the import of job shares opened a connection to 127.0.0.1:{port}" in log
    assert "the import of job shares started thread not-there" in log
    assert log.count("worker_process_init") == 2


def test_generators_of_numpy_are_reseeded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bits:
        made = 0

        def __init__(self) -> None:
            Bits.made += 1
            self.state = Bits.made

    class Generator:
        def __init__(self) -> None:
            self.bit_generator = Bits()

    class RandomState:
        seeded = 0

        def seed(self) -> None:
            self.seeded += 1

    numpy = ModuleType("numpy.random")
    numpy.Generator, numpy.RandomState = Generator, RandomState  # type: ignore[attr-defined]
    own, legacy, whole = Generator(), RandomState(), RandomState()
    numpy.seed = whole.seed  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "numpy.random", numpy)
    generators = Generators()
    state = own.bit_generator.state
    generators.reseed()
    assert own.bit_generator.state != state
    assert (legacy.seeded, whole.seeded) == (1, 2)
