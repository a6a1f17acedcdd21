"""Tasks of huey: ``plain`` for speed; ``prompt`` tells whoever waits for a result when it is there."""

from __future__ import annotations

import sys
from typing import Any

from huey import RedisHuey

from benchmarks.peers import url_of

plain = RedisHuey("plain", url=url_of("huey"))
prompt = RedisHuey("prompt", url=url_of("huey"), notify_result=True)


@plain.task()
def noop() -> int:
    """Do nothing."""
    return 1


@prompt.task()
def add(a: int, b: int) -> Any:
    """Return a sum."""
    return a + b


@prompt.on_startup()
def tell() -> None:
    """Tell whoever waits for a worker; its log is quiet."""
    print("ready", file=sys.stderr, flush=True)
