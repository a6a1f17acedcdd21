"""Test processes that are forked from the process that collected the tests: ``pytest --forks 4``.

Collecting this suite means importing three hundred modules with their dependencies, and creating nine thousand items.
With forks, this is done once for all processes. Each process takes the next tests from a pipe until none are left.
Tests that share a fixture of their module (a worker, for example) stay together; all others go to any idle process.

Reports go through pipes to the first process, which shows and counts them as if it had run the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import mmap
import os
import random
import selectors
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

_CHUNK = 8
"""The maximum number of independent tests that a process takes at once."""
_COSTLY = "rabbit_node"
"""A server that takes many seconds to start, and is started once in each process that uses it."""
_PROCESSES_WITH_COSTLY = 2
_TOKEN = 4
_PATIENCE = 30.0
"""How long interrupted test processes may take to end (seconds)."""


def in_groups(items: Sequence[pytest.Item]) -> list[list[pytest.Item]]:
    """Return the tests in groups for one process each, in the order in which they start.

    Tests that wait for the clock come first and run beside everything else. Then come tests with a server that is slow
    to start, in few processes, then tests that take a minute each, and then tests that talk to servers. Tests that only
    use the CPU fill the gaps at the end.
    """
    clock = [[item] for item in items if item.get_closest_marker("clock")]
    costly: list[list[pytest.Item]] = [[] for _ in range(_PROCESSES_WITH_COSTLY)]
    long: list[list[pytest.Item]] = []
    served: list[list[pytest.Item]] = []
    others: list[list[pytest.Item]] = []
    rest = [item for item in items if not item.get_closest_marker("clock")]
    for (_, is_long), found in groupby(rest, lambda item: (item.path, bool(item.get_closest_marker("long")))):
        module = list(found)
        if any(_COSTLY in _fixtures(item) for item in module):
            min(costly, key=len).extend(module)
            continue
        size = len(module) if any(map(_shares, module)) else 1 if is_long else _CHUNK
        parts = [module[at : at + size] for at in range(0, len(module), size)]
        is_served = any("redis_server" in _fixtures(item) for item in module)
        (long if is_long else served if is_served else others).extend(parts)
    return [*clock, *filter(None, costly), *long, *served, *others]


def _fixtures(item: Any) -> Mapping[str, Sequence[Any]]:
    found: Mapping[str, Sequence[Any]] = item._fixtureinfo.name2fixturedefs
    return found


def _shares(item: pytest.Item) -> bool:
    return any(found and found[-1].scope in ("class", "module") for found in _fixtures(item).values())


class Forks:
    """The plugin of the first process.

    Args:
        config: the configuration of the test run.
        count: the number of test processes.
        environment: additional environment variables for them.
        beside: a context that is open while they run; it gets the temporary folder.
    """

    def __init__(
        self,
        config: pytest.Config,
        count: int,
        environment: Mapping[str, str],
        beside: Callable[[Path], AbstractContextManager[None]],
    ) -> None:
        self.config, self.count, self.environment, self.beside = config, count, environment, beside
        self.over = mmap.mmap(-1, 1)
        """Whether no more tests may start: one byte that all processes share."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run the tests in separate processes, unless there are none to run."""
        if self.config.option.collectonly or session.testsfailed or not session.items:
            return None
        self.session = session
        self.groups = in_groups(session.items)
        if reporter := self.config.pluginmanager.get_plugin("terminalreporter"):
            # Tests of many files run at the same time.
            reporter.showfspath = False
        self.base: Path = self._factory.getbasetemp()
        self.tokens, write = os.pipe()
        os.write(write, b"".join(number.to_bytes(_TOKEN, "big") for number in range(len(self.groups))))
        os.close(write)
        assert threading.active_count() == 1, "a forked process has one thread: what it waits for, others may hold"
        gc.collect()
        gc.freeze()
        with self.beside(self.base):
            self._supervise()
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        return True

    @property
    def _factory(self) -> Any:
        return self.config._tmp_path_factory  # type: ignore[attr-defined]

    def _supervise(self) -> None:
        children: dict[int, _Child] = {}
        with selectors.DefaultSelector() as selector:

            def start(number: int, rest: list[pytest.Item]) -> None:
                child = self._fork(number, rest, list(children))
                children[child.fd] = child
                selector.register(child.fd, selectors.EVENT_READ)

            try:
                for number in range(min(self.count, len(self.groups))):
                    start(number, [])
                while children:
                    for key, _ in selector.select():
                        child = children[key.fd]
                        if child.hear(self):
                            continue
                        selector.unregister(child.fd)
                        del children[child.fd]
                        if (rest := child.end(self)) is not None and not self.over[0]:
                            start(child.number + self.count, rest)
            finally:
                self.over[0] = 1
                self._end(list(children.values()))

    def _end(self, children: list[_Child]) -> None:
        """Wait for interrupted processes to end; the terminal has sent them the signal too."""
        end = time.monotonic() + _PATIENCE
        for child in children:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(child.pid, os.WNOHANG) == (0, 0):
                    if time.monotonic() > end:
                        os.kill(child.pid, signal.SIGKILL)
                    time.sleep(0.05)

    def _fork(self, number: int, rest: list[pytest.Item], others: list[int]) -> _Child:
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            for other in (read, *others):
                os.close(other)
            _run(self, number, rest, write)
        os.close(write)
        return _Child(number, pid, read)

    def stop_if_told(self) -> None:
        """Start no more tests once one has failed (``-x``), or when the session must stop."""
        if self.session.shouldfail or self.session.shouldstop:
            self.over[0] = 1

    def take(self) -> list[pytest.Item]:
        """Return the next group, or an empty one at the end."""
        token = os.read(self.tokens, _TOKEN)
        return self.groups[int.from_bytes(token, "big")] if token and not self.over[0] else []


class _Child:
    """A test process, from the view of the first process."""

    def __init__(self, number: int, pid: int, fd: int) -> None:
        self.number, self.pid, self.fd = number, pid, fd
        self._data = bytearray()
        self._left: list[str] = []
        """The tests that it has taken but not started."""
        self._running: tuple[str, Any] | None = None
        self._done = False

    def hear(self, forks: Forks) -> bool:
        """Process its messages; return False once it has closed its pipe."""
        data = os.read(self.fd, 1 << 16)
        self._data += data
        while b"\n" in self._data:
            line, _, self._data = self._data.partition(b"\n")
            self._treat(forks, json.loads(line))
            forks.stop_if_told()
        return bool(data)

    def _treat(self, forks: Forks, event: dict[str, Any]) -> None:
        hook = forks.config.hook
        match event:
            case {"took": ids}:
                self._left = ids
            case {"begun": [nodeid, location]}:
                self._left.remove(nodeid)
                self._running = nodeid, location
                hook.pytest_runtest_logstart(nodeid=nodeid, location=tuple(location))
            case {"report": data}:
                report = hook.pytest_report_from_serializable(config=forks.config, data=data)
                if isinstance(report.longrepr, list):
                    report.longrepr = tuple(report.longrepr)  # where a skipped test is, and why it was
                hook.pytest_runtest_logreport(report=report)
            case {"ended": [nodeid, location]}:
                self._running = None
                hook.pytest_runtest_logfinish(nodeid=nodeid, location=tuple(location))
            case {"warning": [message, name, file, line], "when": when, "nodeid": nodeid}:
                category = type(name, (Warning,), {})
                warning = warnings.WarningMessage(message, category, file, line)
                hook.pytest_warning_recorded.call_historic(
                    kwargs={"warning_message": warning, "when": when, "nodeid": nodeid, "location": None}
                )
            case {"broken": text}:
                self._fail(forks, f"test process {self.number}", ("", None, ""), text)
                # A fault of this plugin, which a replacement process would have too.
                forks.over[0] = 1
            case {"done": True}:
                self._done = True

    def end(self, forks: Forks) -> list[pytest.Item] | None:
        """Reap the process; return the tests that must be repeated, or None if it was done."""
        os.close(self.fd)
        _, status = os.waitpid(self.pid, 0)
        if self._done:
            return None
        code = os.waitstatus_to_exitcode(status)
        if self._running:
            nodeid, location = self._running
            self._fail(forks, nodeid, tuple(location), f"the test process ended with {code} meanwhile")
        forks.stop_if_told()
        left = set(self._left)
        return [item for item in forks.session.items if item.nodeid in left]

    def _fail(self, forks: Forks, nodeid: str, location: Any, text: str) -> None:
        report = pytest.TestReport(nodeid, location, {}, "failed", text, "call")
        forks.config.hook.pytest_runtest_logreport(report=report)


class _Teller:
    """The plugin of a test process: sends its events to the first process."""

    def __init__(self, config: pytest.Config, fd: int) -> None:
        self._config, self._fd = config, fd
        self.begun = False
        """Whether warnings belong to tests: a plugin also receives earlier ones when it is registered."""

    def tell(self, **event: Any) -> None:
        data = json.dumps(event, default=str).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]

    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.tell(begun=[nodeid, location])

    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.tell(ended=[nodeid, location])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tell(report=self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage, when: str, nodeid: str) -> None:
        warning = warning_message
        if self.begun:
            fields = [str(warning.message), warning.category.__name__, warning.filename, warning.lineno]
            self.tell(warning=fields, when=when, nodeid=nodeid)


class _MuteReporter:
    """Stand in for the terminal reporter: pytest 9.0.0 takes its writer from it to show a failed comparison."""

    def __init__(self, writer: Any) -> None:
        self._tw = writer


def _run(forks: Forks, number: int, rest: list[pytest.Item], fd: int) -> NoReturn:
    """Run a test process."""
    config, session = forks.config, forks.session
    code = 1
    teller = _Teller(config, fd)
    try:
        # It has its own captured output, temporary folder, and random numbers.
        capture: Any = config.pluginmanager.get_plugin("capturemanager")
        if capture is not None:
            capture.stop_global_capturing()
            capture.start_global_capturing()
        if (reporter := config.pluginmanager.get_plugin("terminalreporter")) is not None:
            config.pluginmanager.unregister(reporter)
            config.pluginmanager.register(_MuteReporter(reporter._tw), "terminalreporter")
        config.pluginmanager.unregister(forks)
        factory = forks._factory
        factory._basetemp = forks.base / f"f{number}"
        factory._basetemp.mkdir(mode=0o700)
        factory._exit_stack = ExitStack()
        # Callbacks that tests register run at the end of this process; the earlier ones belong to the first process.
        atexit._clear()
        random.seed()
        os.environ.update(forks.environment)
        config.pluginmanager.register(teller)
        teller.begun = True
        # Stands for the next group, which may be any: fixtures of the session stay, and no others.
        other: Any = SimpleNamespace(listchain=lambda: [session])
        for group in _groups(forks, rest):
            teller.tell(took=[item.nodeid for item in group])
            for item, follower in zip(group, [*group[1:], other], strict=True):
                if forks.over[0]:
                    break
                config.hook.pytest_runtest_protocol(item=item, nextitem=follower)
                if session.shouldfail or session.shouldstop:
                    forks.over[0] = 1
        session._setupstate.teardown_exact(None)
        teller.tell(done=True)
        code = 0
    except BaseException:  # noqa: BLE001 - the first process shows it
        teller.tell(broken=traceback.format_exc())
    finally:
        # Tear fixtures down even after an interrupt.
        with contextlib.suppress(BaseException):
            session._setupstate.teardown_exact(None)
        with contextlib.suppress(Exception):
            atexit._run_exitfuncs()
        os._exit(code)


def _groups(forks: Forks, rest: list[pytest.Item]) -> Iterator[list[pytest.Item]]:
    if rest:
        yield rest
    while group := forks.take():
        yield group
