"""A signal whose handler raises comes while a command becomes bytes: Ctrl-C, SIGTERM, a soft time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import redis

from runner.app.factory import create_app
from runner.ledger.connection import connect
from runner.ledger.packer import PACKER
from tests.support.project import Project

INTERRUPTED = """
import resource, signal
from runner.ledger.packer import PACKER

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGALRM, stop)
numbers = tuple(range(20_000))
for _ in range(100):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002)
        while True:
            PACKER.pack("MGET", *numbers)
    except Stop:
        pass
"""

WITHOUT_REPR = """
import resource
import hiredis

class Number(float):
    def __repr__(self):
        raise KeyboardInterrupt  # as from a signal that comes just then

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
hiredis.pack_command(("GET", Number(1)))
"""


def ended(program: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONFAULTHANDLER"}
    return subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode


def test_a_signal_ends_no_process_by_sigsegv() -> None:
    assert ended(INTERRUPTED) == 0


def test_hiredis_still_needs_care() -> None:
    """Once this fails, runner/ledger/packer.py can go."""
    assert ended(WITHOUT_REPR) == -signal.SIGSEGV


def test_every_connection_takes_care(make_project: Any) -> None:
    project: Project = make_project({"hello": {"task": "time:time"}})
    settings = project.settings
    app = create_app(settings, project.catalog)
    with app.connection_for_write() as broker:
        pools = {
            "ledger": connect(settings).connection_pool,
            "broker": broker.default_channel.pool,
            "backend": app.backend.client.connection_pool,
            "sentinel": connect(replace(settings, redis_url="sentinel://127.0.0.1:1/name")).connection_pool,
        }
        found = {name: pool.make_connection()._command_packer for name, pool in pools.items()}
    assert found == dict.fromkeys(pools, PACKER)


@pytest.mark.parametrize("value", [5, -3, 0, 2**70, 0.5, 1e300, b"raw \xff", "text", "ü"])
def test_values_are_written_as_redis_py_writes_them(value: Any) -> None:
    plain = redis.Redis().connection_pool.make_connection()
    assert PACKER.pack("SET", "key", value) == plain.pack_command("SET", "key", value)


@pytest.mark.parametrize("value", [True, None, [1]])
def test_what_redis_py_refuses_is_refused(value: Any) -> None:
    with pytest.raises(redis.DataError):
        PACKER.pack("SET", "key", value)
