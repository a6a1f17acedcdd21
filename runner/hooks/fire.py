"""Fires hooks: submits the jobs that a run's outcome calls for, each once. Advances flows whose steps have ended.

What is to be fired stands in the outbox, which the script that ended the run wrote. Which jobs those are says the YAML
of whoever fires them. Celery is not needed here: workers do it, and so do the scheduler and ``runner tick``.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

from runner.catalog.catalog import Catalog
from runner.catalog.hooks import PARAM
from runner.errors import JobDisabled, NotHandedOver, RunnerError, Unavailable, UnknownRun, UsageError, WriteRefused
from runner.flows.advance import advance
from runner.ledger.admission import Origin, admit
from runner.ledger.flow_log import last_lines
from runner.ledger.ledger import Ledger
from runner.model.job import JobSpec
from runner.model.run import FIELDS, Run, State, to_timestamp

log = logging.getLogger(__name__)

MOST_HOOKS = 20
"""Entries of the outbox that are taken at a time."""

LEND_SECONDS = 30.0
"""After this time others fire what was taken and not done with."""

PATIENCE = 0.5
"""Seconds for which one call advances flows: whoever calls may have leases to renew. The rest is due again at once."""

ADVANCE = "advance"
"""The outcome of an entry that names a flow to advance."""

FEW_STEPS = 20
"""How many of the failed steps of a large flow a run document carries to a hook."""

LOG_LINES = 20
"""How many of the last lines of its log a run document carries to a hook."""

TRACEBACK_TAIL = 2000
"""Characters of a traceback that are left where the whole document is too large for a param."""

_IDS = UUID("b4a7c6d2-5f0e-4c7b-9a54-0c1de5e3a5f1")


def fire_hooks(ledger: Ledger, catalog: Catalog, *, by: str) -> int:
    """Fire what is due, and advance what is; return how many entries of the outbox were done with.

    Args:
        ledger: where the runs are.
        catalog: whose jobs are submitted.
        by: who does it, for ``submitted_by``.

    Raises:
        Unavailable: Redis cannot be reached; what was not done with is fired later.
    """
    entries = ledger.outbox(MOST_HOOKS, LEND_SECONDS)
    done, late, until = [], [], time.monotonic() + PATIENCE
    for entry in entries:
        # Older versions adopted ids with spaces in them.
        run_id, *rest = entry.rsplit(" ", 2)
        if len(rest) != 2:
            log.warning("an entry of the outbox names no run and outcome: %r", entry[:100])
            done.append(entry)
            continue
        outcome, attempt = rest
        if outcome != ADVANCE:
            done.append(entry)
        try:
            if outcome == ADVANCE:
                # It takes its entry out itself, unless there is more to do meanwhile.
                if time.monotonic() < until:
                    _advance(ledger, catalog, run_id, by, until)
                if time.monotonic() >= until:
                    late.append(entry)
            elif outcome == "silent":
                _fire_silence(ledger, catalog, run_id, attempt, by)
            else:
                _fire(ledger, catalog, run_id, outcome, attempt, by)
        except Unavailable:
            raise
        except RunnerError as error:
            log.warning("hooks of run %s (%s) are not fired: %s", run_id, outcome, error)
    if done:
        ledger.outbox(0, LEND_SECONDS, done)
    if late:
        ledger.return_to_outbox(late)
    return len(entries)


def _advance(ledger: Ledger, catalog: Catalog, flow_id: str, by: str, until: float) -> None:
    try:
        advance(ledger, catalog, flow_id, by=by, until=until)
    except WriteRefused as error:
        # Of this flow alone: the others go on, and this one is tried again.
        log.error("flow %s cannot be advanced: %s", flow_id, error.message)
    except RunnerError:
        raise
    except Exception:
        # A fault of one flow, as of a forged record, keeps no other entry waiting; the log has its traceback.
        log.exception("flow %s cannot be advanced", flow_id)


def hook_id(run_id: str, outcome: str, attempt: str, hook: str) -> str:
    """Return the id of the run that a hook makes: the same whoever fires it, and however often."""
    return str(uuid5(_IDS, f"{run_id} {outcome} {attempt if outcome == 'retry' else ''} {hook}"))


def _fire(ledger: Ledger, catalog: Catalog, run_id: str, outcome: str, attempt: str, by: str) -> None:
    try:
        run = ledger.get(run_id)
    except UnknownRun:
        log.warning("run %s is forgotten, its hooks (%s) are not fired", run_id, outcome)
        return
    hooks = list(_called(catalog.get(run.job), run, outcome))
    lines = [line.labeled() for line in last_lines(ledger, run, LOG_LINES)] if hooks else []
    for event, name in hooks:
        try:
            job = catalog.get(name)
            document = fit({**run.document(), "hook": event, "log": lines}, ledger.settings.limits.params - 64)
            _submit(ledger, job, run, document, hook_id(run.id, event, attempt, name), by)
        except JobDisabled:
            log.warning("hook %s of run %s of %s is disabled", name, run.id, run.job)
        except UsageError as error:
            log.error("hook %s of run %s of %s is not fired: %s", name, run.id, run.job, error)


def _fire_silence(ledger: Ledger, catalog: Catalog, job: str, last: str, by: str) -> None:
    """Fire the hook ``silent`` of a job that succeeded last at ``last`` (Unix ms, or 0)."""
    latest = next(iter(ledger.runs(job=job, limit=1)), None)
    if latest is None:
        about: dict[str, Any] = {**dict.fromkeys(FIELDS), "job": job, "params": {}}
        lines: list[str] = []
    else:
        about = latest.document()
        lines = [line.labeled() for line in last_lines(ledger, latest, LOG_LINES)]
    succeeded = to_timestamp(int(last)) if last.isdecimal() and last != "0" else None
    told = {**about, "hook": "silent", "last_success_at": succeeded, "log": lines}
    document = fit(told, ledger.settings.limits.params - 64)
    for name in catalog.get(job).hooks.names().get("silent", ()):
        try:
            _submit(ledger, catalog.get(name), latest, document, str(uuid5(_IDS, f"{job} silent {last} {name}")), by)
        except UsageError as error:
            log.error("hook %s (silent) of %s is not fired: %s", name, job, error)


def _called(job: JobSpec, run: Run, outcome: str) -> Iterator[tuple[str, str]]:
    """Yield the hooks that an outcome of a run calls: which hook it is, and the job to submit."""
    hooks = job.hooks.entries()
    in_row = run.failures_in_row
    for hook in hooks.get(outcome, ()):
        # Without a count, the run was submitted before the job had `after`.
        if outcome != "failure" or hook.after <= (in_row or 1):
            yield outcome, hook.job
    if outcome == "success" and in_row:
        yield from (("recovered", hook.job) for hook in hooks.get("recovered", ()) if hook.after <= in_row)


def _submit(ledger: Ledger, job: JobSpec, run: Run | None, document: dict[str, Any], run_id: str, by: str) -> None:
    by = by or f"pid{os.getpid()}@{os.uname().nodename}"
    origin = Origin(trigger="hook", submitted_by=by, hook_of=run.id if run is not None else None)
    try:
        ledger.submit(admit(job, {PARAM: document}, ledger.settings, run_id=run_id, origin=origin))
    except NotHandedOver as error:
        log.warning("%s", error.message)


def fit(document: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return a run document with its log that has at most ``limit`` bytes as JSON.

    What is too large is left out, one after the other: the result, most of the traceback, the log, the steps that did
    not fail, the params, the error's message; ``omitted`` names those.
    """
    omitted: list[str] = []
    document = {**document, "omitted": omitted}
    error = document.get("error") or {}
    cuts: dict[str, dict[str, Any]] = {
        "result": {"result": None},
        "error.traceback": {"error": {**error, "traceback": (error.get("traceback") or "")[-TRACEBACK_TAIL:]}},
        "log": {"log": []},
        "steps": {
            "steps": [each for each in document.get("steps") or () if each["state"] == State.FAILURE][:FEW_STEPS]
        },
        "params": {"params": {}},
        "error.message": {"error": {**error, "message": error.get("message", "")[:200], "traceback": None}},
    }
    for name, cut in cuts.items():
        if len(json.dumps(document)) <= limit:
            break
        if (error or not name.startswith("error.")) and (document.get("steps") or name != "steps"):
            document.update(cut)
            omitted.append(name)
    return document
