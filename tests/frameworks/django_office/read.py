"""Waits for the runs whose ids are given, and prints their results as JSON."""

import json
import sys

from office.boot import setup

setup()

from office import tasks  # noqa: E402

import runner  # noqa: E402
from runner.django.task_framework import HOME  # noqa: E402

backend = tasks.tell.get_backend()
results = {}
for run_id in sys.argv[1:]:
    state = runner.get_run(run_id).wait(60).state
    result = backend.get_result(run_id)
    results[run_id] = {
        "state": state,
        "status": str(result.status),
        "function": result.task.func.__name__,
        "args": result.args,
        "kwargs": result.kwargs,
        "finished": result.is_finished,
        "attempts": result.attempts,
        "workers": all(result.worker_ids),
        "errors": [[error.exception_class.__name__, error.traceback] for error in result.errors],
        "value": result.return_value if result.status == "SUCCESSFUL" else None,
        "ordered": result.status != "SUCCESSFUL"
        or result.enqueued_at <= result.started_at <= result.last_attempted_at <= result.finished_at,
    }
plain = runner.submit("plain")
print(json.dumps({"results": results, "plain": backend.get_result(plain.id).task.func.__name__, "home": HOME}))
