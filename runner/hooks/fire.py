"""Fire hooks: submit the jobs that a run's outcome calls for, each once. Advance flows whose steps have ended.

The script that ends a run adds an entry to the outbox. The process that takes the entry looks the hook's jobs up in its
own YAML. Workers, the scheduler, and ``runner tick`` do this, so this module does not import Celery.
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
"""The maximum number of outbox entries that one call takes."""

LEND_SECONDS = 30.0
"""Seconds after which another process takes over entries that were taken but not finished."""

PATIENCE = 0.5
"""Seconds that one call spends on flows: the caller may have leases to renew. The other flows are due again at once."""

ADVANCE = "advance"
"""The outcome in an entry that names a flow to advance."""

FEW_STEPS = 20
"""The maximum number of failed steps of a flow in the run document for a hook."""

LOG_LINES = 20
"""The number of last log lines in the run document for a hook."""

TRACEBACK_TAIL = 2000
"""Characters of the traceback that are kept if the whole document is too large for a param."""

_IDS = UUID("b4a7c6d2-5f0e-4c7b-9a54-0c1de5e3a5f1")


def fire_hooks(ledger: Ledger, catalog: Catalog, *, by: str) -> int:
    """Fire due hooks and advance due flows; return the number of outbox entries that were finished.

    Args:
        ledger: where the runs are.
        catalog: the jobs to submit.
        by: the name of this process, for ``submitted_by``.

    Raises:
        Unavailable: Redis cannot be reached; unfinished entries are fired later.
    """
    entries = ledger.outbox(MOST_HOOKS, LEND_SECONDS)
    done, late, until = [], [], time.monotonic() + PATIENCE
    for entry in entries:
        # Older versions accepted ids with spaces.
        run_id, *rest = entry.rsplit(" ", 2)
        if len(rest) != 2:
            log.warning("an outbox entry does not name a run and an outcome: %r", entry[:100])
            done.append(entry)
            continue
        outcome, attempt = rest
        if outcome != ADVANCE:
            done.append(entry)
        try:
            if outcome == ADVANCE:
                # Advancing removes the entry itself, unless more steps have ended meanwhile.
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
            log.warning("cannot fire the hooks of run %s (%s): %s", run_id, outcome, error)
    if done:
        ledger.outbox(0, LEND_SECONDS, done)
    if late:
        ledger.return_to_outbox(late)
    return len(entries)


def _advance(ledger: Ledger, catalog: Catalog, flow_id: str, by: str, until: float) -> None:
    try:
        advance(ledger, catalog, flow_id, by=by, until=until)
    except WriteRefused as error:
        # Only this flow is affected: the others go on, and this one is tried again.
        log.error("flow %s cannot be advanced: %s", flow_id, error.message)
    except RunnerError:
        raise
    except Exception:
        # An error of one flow, such as a forged record, must not block the other entries; its traceback is in the log.
        log.exception("flow %s cannot be advanced", flow_id)


def hook_id(run_id: str, outcome: str, attempt: str, hook: str) -> str:
    """Return the id of the run that a hook submits: the same in every process and at every attempt."""
    return str(uuid5(_IDS, f"{run_id} {outcome} {attempt if outcome == 'retry' else ''} {hook}"))


def _fire(ledger: Ledger, catalog: Catalog, run_id: str, outcome: str, attempt: str, by: str) -> None:
    try:
        run = ledger.get(run_id)
    except UnknownRun:
        log.warning("run %s was forgotten, so its hooks (%s) are not fired", run_id, outcome)
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
    """Fire the hook ``silent`` of a job whose last success was at ``last`` (Unix ms, or 0)."""
    latest = next(iter(ledger.runs(job=job, limit=1)), None)
    if latest is None:
        about: dict[str, Any] = {**dict.fromkeys(FIELDS), "job": job, "params": {}}
        lines: list[str] = []
    else:
        about = latest.document()
        lines = [line.labeled() for line in last_lines(ledger, latest, LOG_LINES)]
    succeeded = to_timestamp(int(last)) if last.isdecimal() and last != "0" else None
    fields = {**about, "hook": "silent", "last_success_at": succeeded, "log": lines}
    document = fit(fields, ledger.settings.limits.params - 64)
    for name in catalog.get(job).hooks.names().get("silent", ()):
        try:
            _submit(ledger, catalog.get(name), latest, document, str(uuid5(_IDS, f"{job} silent {last} {name}")), by)
        except UsageError as error:
            log.error("hook %s (silent) of %s is not fired: %s", name, job, error)


def _called(job: JobSpec, run: Run, outcome: str) -> Iterator[tuple[str, str]]:
    """Yield the hooks that an outcome of a run calls for: the name of the hook, and the job to submit."""
    hooks = job.hooks.entries()
    in_row = run.failures_in_row
    for hook in hooks.get(outcome, ()):
        # A run without a count was submitted before the job had `after`.
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
    """Return a run document with its log, cut to at most ``limit`` bytes as JSON.

    Parts are left out in this order until it fits: the result, most of the traceback, the log, the steps that did not
    fail, the params, the error message. ``omitted`` names the parts that were left out.
    """
    omitted: list[str] = []
    document = {**document, "omitted": omitted}
    error = document.get("error") or {}
    cuts: dict[str, dict[str, Any]] = {
        "result": {"result": None},
        "error.traceback": {"error": {**error, "traceback": (error.get("traceback") or "")[-TRACEBACK_TAIL:]}},
        "log": {"log": []},
        "steps": {
            "steps": [step for step in document.get("steps") or () if step["state"] == State.FAILURE][:FEW_STEPS]
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
