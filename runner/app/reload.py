"""Live reload: a worker takes over what changed in its files of jobs, while it runs.

A thread reads the files; the main loop puts what changed in force, so that nothing it works with changes under its
hands. What runs goes on as it started. Nothing is imported for a job here: the process that runs it does.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from celery import bootsteps
from celery.utils.log import get_logger

from runner.app.follow import follow
from runner.app.job_task import Carried
from runner.app.registry import make_task, trace_task
from runner.app.secret_values import complaints
from runner.app.steps import Lease
from runner.errors import RunnerError
from runner.ledger.ledger import Ledger
from runner.ledger.specs import KEPT_SECONDS, keep_specs, write_specs
from runner.settings import load_settings
from runner.spec.catalog import Catalog, Jobs
from runner.spec.live import LiveCatalog, catalog_digest
from runner.spec.published import publish, write_published

log = get_logger(__name__)

LOOK_SECONDS = 1.0
"""How often files are looked at although nothing was heard of: the system does not tell of all changes."""

LOOK_SHARE = 20
"""With many files less often: a look may take a twentieth of the time."""

APPLY_SECONDS = 0.1
"""Between two looks of the main loop for something to put in force."""

PROBLEMS_TOLD = 5
"""Problems that the worker's record names."""

_DIGESTS_REMEMBERED = 4096
_NAMES_TOLD = 10


class LiveFiles:
    """The jobs of a worker as its files have them. Safe to use from several threads."""

    def __init__(self, app: Any, pool: str) -> None:
        self._app = app
        self._pool = pool
        self._live = LiveCatalog(app.runner_settings, app.catalog)
        self._settings = app.runner_settings
        self._settings_seen = self._settings_status()
        self._mutex = threading.RLock()
        self._new: Catalog | None = None
        self._looked_for: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._refused: dict[str, str] = {}
        self._since = round(time.time() * 1000)
        self._digest = catalog_digest(app.catalog.digests())
        self._problems = _errors(app.catalog)
        self._told = frozenset(self._problems)
        self.published = ""
        """The digest of the catalog that others can read in the ledger; empty until the first is written."""

    @property
    def unsettled(self) -> bool:
        """Whether files should be looked at again in a moment."""
        return self._live.unsettled

    @property
    def _has_news(self) -> bool:
        return self._new is not None

    def record(self) -> dict[str, str | int]:
        """Return what the worker's record tells of its jobs."""
        problems = [*self._problems, *self._refused.values()]
        return {
            "catalog": self.published,
            "catalog_since": self._since,
            "jobs": len(self._app.job_names),
            "problems": json.dumps({"count": len(problems), "first": problems[:PROBLEMS_TOLD]}),
            "kept": json.dumps(list(self._live.kept[:PROBLEMS_TOLD])),
        }

    def look(self) -> None:
        """Read what changed in the files; what follows is put in force by :meth:`apply`."""
        with self._mutex:
            self._look_at_settings()
            if self._live.look():
                # Built here, so that the main loop need not.
                for name in _changed(self._app.catalog, self._live.catalog):
                    self._live.catalog.jobs[name]
                self._new = self._live.catalog
            self._tell_problems()

    def look_for(self, consumer: Any, name: Any, digest: Any) -> bool:
        """Look because of a run with another digest, once for each; return whether its job changed by that."""
        if not isinstance(name, str) or not isinstance(digest, str):
            return False
        key = (name[:100], digest[:100])
        if key in self._looked_for:
            return False
        self._looked_for[key] = None
        if len(self._looked_for) > _DIGESTS_REMEMBERED:
            self._looked_for.popitem(last=False)
        with self._mutex:
            try:
                self.look()
            except Exception:
                log.exception("files of jobs could not be read; what was read before stays in force")
            return name in self.apply(consumer)

    def apply(self, consumer: Any) -> frozenset[str]:
        """Put in force what was read; return the names of the jobs that changed. In the main loop only."""
        if not self._has_news:
            return frozenset()
        with self._mutex:
            new, self._new = self._new, None
            if new is None:
                return frozenset()
            app, former = self._app, self._app.catalog
            before, after = former.digests(), new.digests()
            added = [name for name in after if name not in before]
            changed = [name for name in after if name in before and before[name] != after[name]]
            removed = [name for name in before if name not in after]
            for name in (*added, *changed):
                self._put(consumer, new, name)
            added, changed = ([name for name in names if name not in self._refused] for names in (added, changed))
            for name in removed:
                self._refused.pop(name, None)
                app._tasks.pop(name, None)
                consumer.strategies.pop(name, None)
            app.catalog = new
            app.job_names = frozenset(name for name in new.jobs if name in app._tasks)
            if added or changed or removed:
                self._digest, self._since = catalog_digest(after), round(time.time() * 1000)
                log.info("jobs are reloaded: %s", _words(added=added, changed=changed, removed=removed))
            return frozenset((*added, *changed, *removed))

    def _put(self, consumer: Any, new: Catalog, name: str) -> None:
        app, job = self._app, new.jobs[name]
        self._refused.pop(name, None)
        if self._pool != "prefork" and job.needs_prefork:
            told = f"job {name} declares {job.needs_prefork}, which the {self._pool} pool cannot honour"
            self._refused[name] = told
            log.error("%s: %s", told, "its former state stays in force" if name in app._tasks else "it is not run here")
            return
        for complaint in complaints(job, self._settings.project, os.environ):
            log.warning("job %s: %s", name, complaint)
        carried = Carried(*new.jobs.entry(name)) if self._pool == "prefork" and isinstance(new.jobs, Jobs) else None
        task = trace_task(app, make_task(app, job, carried))
        task.loaded_at = time.monotonic()
        consumer.strategies[name] = task.start_strategy(app, consumer)

    def _tell_problems(self) -> None:
        self._problems = _errors(self._live.catalog)
        for text in self._problems:
            if text not in self._told:
                log.error("%s", text)
        if self._problems and frozenset(self._problems) != self._told:
            kept = ", ".join(self._live.kept)
            log.error("%s", f"the last good state of {kept} stays in force" if kept else "sound jobs are run")
        elif self._told and not self._problems:
            log.info("files of jobs have no problems any more")
        self._told = frozenset(self._problems)

    # -- defaults of runner.yaml

    def _settings_status(self) -> tuple[tuple[int, ...], ...] | None:
        try:
            found = [file.stat() for file in self._settings.files]
        except OSError:
            return None
        return tuple((each.st_mtime_ns, each.st_ctime_ns, each.st_size, each.st_ino) for each in found)

    def _look_at_settings(self) -> None:
        found = self._settings_status()
        if found is None or found == self._settings_seen:
            return
        self._settings_seen = found
        try:
            new = load_settings(self._settings.project)
        except RunnerError as error:
            log.error("%s; what was read before stays in force", error.message)
            return
        if replace(new, defaults=self._settings.defaults) != self._settings:
            log.warning("runner.yaml changed: its defaults hold from now on, the rest once this worker starts anew")
        self._live.follow(replace(self._settings, defaults=new.defaults))

    # -- what others read

    def tell(self, ledger: Ledger) -> None:
        """Write the jobs that this worker runs to the ledger, or keep them there.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        with self._mutex:
            digest, catalog = self._digest, self._app.catalog
        if not keep_specs(ledger, digest):
            write_specs(ledger, digest, write_published(publish(catalog, ledger.namespace)))
        self.published = digest

    @property
    def untold(self) -> bool:
        """Whether others cannot read yet what this worker runs."""
        return self.published != self._digest


def _errors(catalog: Catalog) -> tuple[str, ...]:
    return tuple(str(each) for each in catalog.problems if each.severity == "error")


def _changed(former: Catalog, new: Catalog) -> Iterable[str]:
    before = former.digests()
    return [name for name, digest in new.digests().items() if before.get(name) != digest]


def _words(**names: list[str]) -> str:
    told = []
    for what, found in names.items():
        if found:
            more = f" and {len(found) - _NAMES_TOLD} more" if len(found) > _NAMES_TOLD else ""
            told.append(f"{what} {', '.join(sorted(found)[:_NAMES_TOLD])}{more}")
    return "; ".join(told)


class Reload(bootsteps.StartStopStep):
    """Follows the files of jobs from when the worker consumes until it ends."""

    requires = (Lease,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        app = consumer.app
        app.files = app.files or LiveFiles(app, app.pool_name)
        self._threads: list[threading.Thread] = []
        self._ended = threading.Event()

    def start(self, consumer: Any) -> None:
        """Start the threads once; have the main loop put in force what they read."""
        if not self._threads:
            self._threads = [FollowJobs(consumer, self._ended)]
            if consumer.app.reload_code:
                self._threads.append(FollowCode(consumer.app, self._ended))
            for thread in self._threads:
                thread.start()
        if consumer.hub is not None:
            consumer.timer.call_repeatedly(APPLY_SECONDS, consumer.app.files.apply, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Go on: files change also while the connection is lost."""

    def shutdown(self, consumer: Any) -> None:
        """End the threads."""
        self._ended.set()
        for thread in self._threads:
            thread.join(2.0)


class FollowJobs(threading.Thread):
    """Reads files of jobs when they change, and tells the ledger what this worker runs."""

    def __init__(self, consumer: Any, ended: threading.Event) -> None:
        super().__init__(name="runner-reload", daemon=True)
        self._consumer = consumer
        self._files: LiveFiles = consumer.app.files
        self._ended = ended
        self._ledger = consumer.app.open_ledger()
        self._tell_at = 0.0

    def run(self) -> None:
        """Follow until the worker ends."""
        look_at, settings = 0.0, self._consumer.app.runner_settings
        for changed in follow(settings.jobs_dir, self._ended):
            now = time.monotonic()
            if changed or self._files.unsettled or now >= look_at:
                try:
                    self._files.look()
                except Exception:
                    # Whatever is in a file: the jobs that are in force go on.
                    log.exception("files of jobs could not be read; what was read before stays in force")
                took = time.monotonic() - now
                look_at = time.monotonic() + max(LOOK_SECONDS, LOOK_SHARE * took)
            if self._consumer.hub is None:
                self._files.apply(self._consumer)
            self._tell()

    def _tell(self) -> None:
        if time.monotonic() < self._tell_at and not self._files.untold:
            return
        try:
            self._files.tell(self._ledger)
            self._tell_at = time.monotonic() + KEPT_SECONDS / 4
        except RunnerError as error:
            log.debug("what this worker runs is told later: %s", error)
            self._tell_at = time.monotonic() + 1.0


class FollowCode(threading.Thread):
    """Has the worker start anew when Python files change (``--reload-code``)."""

    def __init__(self, app: Any, ended: threading.Event) -> None:
        super().__init__(name="runner-reload-code", daemon=True)
        self._app = app
        self._ended = ended

    def run(self) -> None:
        """Follow until something changed."""
        from watchfiles import PythonFilter  # start-up time: for development alone

        folders = [path for path in self._app.runner_settings.python_path if path.is_dir()]
        for changed in follow(folders, self._ended, PythonFilter()):
            if changed:
                log.warning("Python files changed: this worker starts anew once what runs has ended")
                self._app.restart = True
                os.kill(os.getpid(), signal.SIGTERM)
                return
