"""The jobs of a worker from its files: changes are read and applied while the worker runs.

Active runs go on as they started. Code of jobs is not imported here but in the process that runs it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from celery.utils.log import get_logger

from runner.app.before_runs import worker_complaints
from runner.app.celery_types import JsonObject
from runner.attempt.held import Looked
from runner.attempt.state import SharedState
from runner.catalog.catalog import Catalog
from runner.catalog.live import LiveCatalog, catalog_digest
from runner.catalog.published import publish, write_published
from runner.errors import RunnerError
from runner.ledger.ledger import Ledger
from runner.ledger.specs import keep_known, keep_specs, write_known, write_specs
from runner.settings import load_again
from runner.worker.job_changes import changes

log = get_logger("runner.worker.reload")

APPLY_PAUSE = 1.0
"""Seconds until the next try to apply changes after a failure."""

MOST_PATIENCE = 5.0
"""Seconds that a run waits for files to settle before it uses the jobs in force."""

MOST_PROBLEMS = 5
"""The maximum number of problems in the worker's record."""

_DIGESTS_REMEMBERED = 4096
_MOST_NAMES = 10


class LiveFiles:
    """The jobs of a worker from its files. Thread-safe.

    Args:
        shared: the state that the worker shares with its takers.
        pool: the name of Celery's pool.
        hand_over: passes changes on.
    """

    def __init__(self, shared: SharedState, pool: str, hand_over: Callable[[JsonObject], None]) -> None:
        app = shared.app
        self._shared, self._app = shared, app
        self._pool = pool
        self._hand_over = hand_over
        self._live = LiveCatalog(app.runner_settings, app.catalog)
        self._settings = app.runner_settings
        self._settings_seen = self._settings_status()
        self._mutex = threading.RLock()
        self._in_force = app.catalog
        """The last catalog that was sent to takers."""
        self._new: Catalog | None = None
        self._apply_at = 0.0
        """The time of the next try to apply changes."""
        self._looked_for: OrderedDict[tuple[str, str], float] = OrderedDict()
        """The time of the first check for a digest of a job."""
        self._unsettled_at = 0.0
        """The time since which files are unsettled."""
        self._refused: dict[str, str] = {}
        self._since = round(time.time() * 1000)
        self._digest = catalog_digest(app.catalog.digests())
        self._problems = _errors(app.catalog)
        self._logged = frozenset(self._problems)
        self._known = ""
        self.published = ""
        """The digest of the catalog in the ledger; empty until the first one is written."""

    @property
    def unsettled(self) -> bool:
        """Return whether files should be checked again soon, or their changes are not applied yet."""
        return self._live.unsettled or self._new is not None

    @property
    def _has_news(self) -> bool:
        return self._new is not None and time.monotonic() >= self._apply_at

    def record(self) -> dict[str, str | int]:
        """Return the fields of the worker's record that describe its jobs."""
        problems = [*self._problems, *self._refused.values()]
        return {
            "catalog": self.published,
            "catalog_since": self._since,
            "jobs": sum("/" not in name for name in self._app.job_names),
            "problems": json.dumps({"count": len(problems), "first": problems[:MOST_PROBLEMS]}),
            "kept": json.dumps(list(self._live.kept[:MOST_PROBLEMS])),
        }

    def look(self) -> None:
        """Read changed files; :meth:`apply` then applies the changes."""
        with self._mutex:
            if not self.unsettled:
                self._unsettled_at = time.monotonic()
            self._look_at_settings()
            if self._live.look():
                # Built here instead of in the main loop.
                for name in _changed(self._app.catalog, self._live.catalog):
                    self._live.catalog.jobs[name]
                self._new = self._live.catalog
            self._tell_problems()

    def look_for(self, name: object, digest: object) -> Looked:
        """Reload the files because of a run with another digest, once each. Never raises."""
        if not isinstance(name, str) or not isinstance(digest, str):
            return Looked.SAME
        key = (name[:100], digest[:100])
        with self._mutex:
            again = key in self._looked_for
            if again and not self.unsettled:
                return Looked.SAME
            first = self._looked_for.setdefault(key, time.monotonic())
            if len(self._looked_for) > _DIGESTS_REMEMBERED:
                self._looked_for.popitem(last=False)
            try:
                self.look()
            except Exception:
                # Whatever is in a file, the jobs in force stay.
                log.exception("files of jobs could not be read; what was read before stays in force")
                # The run is checked once more and then uses the jobs in force.
                return Looked.SAME if again else Looked.UNSETTLED
            if name in self.apply():
                return Looked.CHANGED
            waited = time.monotonic() - max(first, self._unsettled_at)
            return Looked.UNSETTLED if self.unsettled and waited < MOST_PATIENCE else Looked.SAME

    def apply(self) -> frozenset[str]:
        """Apply the changes; return the names of the changed jobs. Never raises.

        The main loop or the supervision does this, under the mutex. Other threads may read meanwhile, because each job
        and the catalog are replaced atomically.
        """
        if not self._has_news:
            return frozenset()
        with self._mutex:
            if self._new is None:
                return frozenset()
            try:
                changed = self._put_in_force(self._new)
            except Exception:
                log.exception("what files of jobs say could not be put in force, will try again")
                self._apply_at = time.monotonic() + APPLY_PAUSE
                return frozenset()
            self._new, self._apply_at = None, 0.0
            return changed

    def _put_in_force(self, new: Catalog) -> frozenset[str]:
        app, former = self._app, self._in_force
        before, after = former.digests(), new.digests()
        added = [name for name in after if name not in before]
        changed = [name for name in after if name in before and before[name] != after[name]]
        removed = [name for name in before if name not in after]
        app.put_jobs([new.jobs[name] for name in (*added, *changed) if self._accepts(new, name)])
        added, changed = ([name for name in names if name not in self._refused] for names in (added, changed))
        for name in removed:
            self._refused.pop(name, None)
        app.remove_jobs(removed)
        app.catalog = new
        if added or changed or removed:
            self._hand_over(changes(app, new, (*added, *changed), removed))
            self._digest, self._since = catalog_digest(after), round(time.time() * 1000)
            log.info("jobs are reloaded: %s", _summary(added=added, changed=changed, removed=removed))
        self._in_force = new
        return frozenset((*added, *changed, *removed))

    def _accepts(self, new: Catalog, name: str) -> bool:
        """Return whether this worker can run a job; log the reason if not."""
        job = new.jobs[name]
        self._refused.pop(name, None)
        if self._pool != "prefork" and job.needs_prefork:
            message = f"job {name} declares {job.needs_prefork}, which the {self._pool} pool cannot honor"
            self._refused[name] = message
            kept = self._app.job_task(name) is not None
            log.error("%s: %s", message, "its former state stays in force" if kept else "it is not run here")
            return False
        for complaint in worker_complaints(job, self._settings, os.environ):
            log.warning("job %s: %s", name, complaint)
        return True

    def _tell_problems(self) -> None:
        self._problems = _errors(self._live.catalog)
        for text in self._problems:
            if text not in self._logged:
                log.error("%s", text)
        if self._problems and frozenset(self._problems) != self._logged:
            kept = ", ".join(self._live.kept)
            log.error("%s", f"the last good state of {kept} stays in force" if kept else "sound jobs are run")
        elif self._logged and not self._problems:
            log.info("the job files have no problems any more")
        self._logged = frozenset(self._problems)

    # -- defaults of runner.yaml

    def _settings_status(self) -> tuple[tuple[int, ...], ...] | None:
        try:
            found = [file.stat() for file in self._settings.files]
        except OSError:
            return None
        return tuple((status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino) for status in found)

    def _look_at_settings(self) -> None:
        found = self._settings_status()
        if found is None or found == self._settings_seen:
            return
        self._settings_seen = found
        try:
            new = load_again(self._settings)
        except RunnerError as error:
            log.error("%s; what was read before stays in force", error.message)
            return
        if replace(new, defaults=self._settings.defaults, calendars=self._settings.calendars) != self._settings:
            log.warning("runner.yaml changed: its defaults and calendars apply from now on, the rest after a restart")
        self._live.follow(replace(self._settings, defaults=new.defaults, calendars=new.calendars))

    # -- publishing

    def publish(self, ledger: Ledger) -> None:
        """Write the jobs of this worker to the ledger, or keep them there.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with self._mutex:
            digest, catalog = self._digest, self._app.catalog
        if not keep_specs(ledger, digest):
            write_specs(ledger, digest, write_published(publish(catalog, ledger.namespace)))
        self.published = digest
        known = self._shared.known
        if not keep_known(ledger, known.digest):
            write_known(ledger, known.digest, known.jobs)
        self._known = known.digest

    @property
    def unpublished(self) -> bool:
        """Return whether the jobs of this worker are not in the ledger yet."""
        return self.published != self._digest or self._known != self._shared.known.digest


def _errors(catalog: Catalog) -> tuple[str, ...]:
    return tuple(str(problem) for problem in catalog.problems if problem.severity == "error")


def _changed(former: Catalog, new: Catalog) -> Iterable[str]:
    before = former.digests()
    return [name for name, digest in new.digests().items() if before.get(name) != digest]


def _summary(**names: list[str]) -> str:
    parts = []
    for what, found in names.items():
        if found:
            more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
            parts.append(f"{what} {', '.join(sorted(found)[:_MOST_NAMES])}{more}")
    return "; ".join(parts)
