"""Programs of the same kind, as their documentation says they are best set up, each in a database of its own."""

from __future__ import annotations

import os

DATABASES = {"runner": 0, "celery": 1, "huey": 2, "dramatiq": 3, "rq": 4, "other": 5}


def url_of(program: str) -> str:
    """Return the URL of a program's database on the server that BENCH_SERVER names."""
    return f"{os.environ['BENCH_SERVER']}/{DATABASES[program]}"
