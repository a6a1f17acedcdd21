"""The program behind ``runner validate --imports`` and ``runner new``: import the code of jobs and check it.

``python -P -m runner.authoring.import_check`` reads one request from stdin, JSON, and writes answers to stdout, one
JSON object a line. It prepares like a worker (``python_path``, then ``setup``) and then forks one process for each
module, so a module that hangs, exits, crashes, or prints does not affect the check of the others.

It forks instead of starting a program for each module: ``setup`` runs only once, as in a worker, and a fork takes 4 ms
instead of 260. This process is between the modules and the command: a module that kills its parent only ends this
process, and this process ends daemons that a module leaves in sessions of their own (Linux).

Request: ``{"project", "python_path", "setup", "seconds", "parallel", "groups": [[job, …], …]}``; a job is
``{"name", "options"}``, and the jobs of a group share a module. With ``"describe": PATH`` in place of ``groups``, the
one answer is what ``runner new`` needs to know of a callable.

Answers: ``{"ready": true}`` once ``setup`` has run, ``{"setup": message}`` if it failed; then for each job
``{"job", "faults": [fault, …]}``, each as :meth:`runner.authoring.signature.Fault.as_json` gives it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from runner.app.target import TargetError, load_target
from runner.authoring.import_children import Child, Watch, adopt_orphans, end_orphans
from runner.authoring.inspection import describe, examine
from runner.process.group import guard


def main() -> None:
    """Answer the request on stdin."""
    request = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    silent = os.open(os.devnull, os.O_RDWR)
    os.dup2(silent, 0)
    os.dup2(silent, 1)

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    os.environ["RUNNER_PROJECT"] = request["project"]
    sys.path[:0] = request["python_path"]
    guard(os.getpgrp())
    own = adopt_orphans()
    message = _set_up(request["setup"])
    if message is not None:
        answer({"setup": message})
        return
    answer({"ready": True})
    if "describe" in request:
        groups = [[{"describe": request["describe"]}]]
    else:
        groups = request["groups"]
    _check(groups, request["seconds"], request["parallel"], answer)
    end_orphans(own)


def _set_up(path: str | None) -> str | None:
    """Call ``setup``; return the error, or None."""
    if path is None:
        return None
    try:
        load_target(path)()
    except TargetError as error:
        return str(error)
    except BaseException as error:  # noqa: BLE001 - somebody's code, SystemExit included
        return f"{path} raised {type(error).__name__}: {error}"
    return None


def _check(groups: list[list[dict[str, Any]]], seconds: float, parallel: int, answer: Any) -> None:
    """Check each group in a separate process, ``parallel`` at a time."""
    waiting = list(reversed(groups))
    with Watch() as watch:
        while waiting or watch.children:
            while waiting and len(watch.children) < parallel:
                watch.add(Child(waiting.pop(), _work, seconds))
            for child in watch.ended():
                for value in child.answers:
                    answer(value)
                left = child.left_over()
                if left:
                    waiting.append(left)
                for value in child.verdict():
                    answer(value)


def _work(job: dict[str, Any], stage: Any) -> dict[str, Any]:
    """Check one job, in a forked process."""
    return describe(job["describe"]) if "describe" in job else examine(job["name"], job["options"], stage)


if __name__ == "__main__":
    main()
