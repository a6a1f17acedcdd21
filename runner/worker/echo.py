"""Copy the output of runs to the worker's own log, with job, run, and attempt on each line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import lru_cache

from runner.model.printable import printable, printable_json

Line = tuple[int, str | None, str]


class Echo:
    """Writes lines to a descriptor, standard error by default.

    ``form`` is ``text`` (as in Celery's log: time, level, job, id, and attempt), ``json`` (one object per line), or
    ``plain`` (unchanged).
    """

    def __init__(self, form: str = "text", descriptor: int = 2) -> None:
        self._form = form
        # No file object: a child that is forked while its lock is held would wait for it forever.
        self._descriptor = descriptor

    def lines(self, run_id: str, job: str, attempt: int, lines: Sequence[Line]) -> None:
        """Write the lines of an attempt."""
        if self._form == "plain":
            self.plain([text for _, _, text in lines])
        elif self._form == "json":
            self.plain([_as_json(run_id, job, attempt, line) for line in lines])
        else:
            name = f"{job} {run_id[:8]}#{attempt}"
            heads = ((f"[{_clock(at)}: {level or 'OUTPUT'}/{name}]", text) for at, level, text in lines)
            # The prefix is on each line of a record, such as a traceback, so that a search for a run finds all of them.
            self.plain([printable(f"{head} {line}") for head, text in heads for line in text.split("\n")])

    def plain(self, lines: Sequence[str]) -> None:
        """Write lines unchanged."""
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            # A closed or full standard error is a problem of the worker, not of the job.
            return


def _clock(at: int) -> str:
    return f"{_second(at // 1000)},{at % 1000:03d}"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _as_json(run_id: str, job: str, attempt: int, line: Line) -> str:
    at, level, text = line
    value = {"at": at / 1000, "level": level, "job": job, "run": run_id, "attempt": attempt, "message": text}
    return printable_json(json.dumps(value, ensure_ascii=False))
