"""Changes that a run makes to its process do not reach the next run: the process is reset or replaced."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from runner.ledger.run_log import RunLog
from tests.support.project import write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.support.work import Work

MODULE = '''
import asyncio, codecs, contextvars, ctypes, decimal, faulthandler, gc, io, json, locale, logging, logging.config
import multiprocessing, os, random, resource, signal, socket, ssl, subprocess, sys, tempfile, threading, time
import tracemalloc, urllib.request, warnings
from pathlib import Path

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")
OLD = logging.getLogger("old")
FOLDER = os.getcwd()


def do(code):
    """Run a line of code, and end as a job does."""
    exec(code, {**globals()})
    return 1


def look():
    """Tell what this process is like."""
    print("to stdout")
    print("to stderr", file=sys.stderr)
    OLD.warning("an old logger")
    logging.getLogger("new").warning("a new logger")
    logging.getLogger("celery.task.mine").error("a task's logger")
    sys.__stdout__.write("to the first stdout\\n")
    print(sys.stdin.read() == "", os.read(0, 1) == b"")
    shell = "umask; pwd; echo $LEFT; echo $TZ; ulimit -n; trap"
    return {
        "folder": os.getcwd(),
        "root": os.listdir("/") == os.listdir("/proc/self/root"),
        "umask": os.umask(os.umask(0)),
        "environment": [os.environ.get("LEFT"), os.environ.get("HOME"), type(os.environ).__name__],
        "shell": subprocess.run(shell, shell=True, capture_output=True, text=True).stdout,
        "handlers": [str(signal.getsignal(each)) for each in (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM)],
        "usr2": signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN,
        "children": [signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL, signal.getsignal(signal.SIGPIPE)],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timers": [signal.getitimer(each) for each in (0, 1, 2)],
        "limits": [resource.getrlimit(getattr(resource, each)) for each in dir(resource) if each.startswith("RLIMIT")],
        "locale": locale.setlocale(locale.LC_ALL),
        "zone": [time.tzname, time.timezone, time.strftime("%H", time.localtime(0))],
        "socket": [socket.getdefaulttimeout(), socket.socket.__name__, socket.getaddrinfo.__name__],
        "ssl": ssl._create_default_https_context.__name__,
        "opener": urllib.request._opener is None,
        "path": sys.path,
        "meta_path": len(sys.meta_path),
        "modules": [each for each in ("json", "redis", "celery") if sys.modules.get(each) is None],
        "executable": sys.executable,
        "argv": sys.argv,
        "hooks": [each.__module__ for each in (sys.excepthook, threading.excepthook, sys.unraisablehook)],
        "warnings": [len(warnings.filters), warnings.showwarning.__module__],
        "decimal": [str(decimal.getcontext()), str(decimal.DefaultContext)],
        "variable": VARIABLE.get(),
        "recursion": sys.getrecursionlimit(),
        "digits": sys.get_int_max_str_digits(),
        "switch": sys.getswitchinterval(),
        "stack": threading.stack_size(),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count() > 0, gc.get_debug(), len(gc.callbacks)],
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": sorted(os.sched_getaffinity(0)),
        "users": [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()],
        "group": os.getpgrp() == os.getpid(),
        "fault": faulthandler.is_enabled(),
        "memory": tracemalloc.is_tracing(),
        "trace": [sys.gettrace() is None, sys.getprofile() is None, hasattr(sys, "tracebacklimit")],
        "temp": tempfile.gettempdir(),
        "loop": new_loop(),
        "builtins": [print.__module__, open.__module__, __import__.__module__, len([1])],
        "more": [
            logging._warnings_showwarning is None,
            [logging.getLevelName(each) for each in (10, 20, 30, 40, 50)],
            urllib.request.http.client.HTTPConnection.debuglevel,
            sys.get_coroutine_origin_tracking_depth(),
            list(sys.get_asyncgen_hooks()),
            os.sched_getscheduler(0),
            sys.getdlopenflags(),
            logging.Formatter.converter.__name__,
            [codecs.lookup_error(each).__name__ for each in ("strict", "backslashreplace", "surrogateescape")],
            [threading.current_thread().name, multiprocessing.current_process().name],
            [multiprocessing.current_process().daemon, multiprocessing.current_process().authkey == b"left"],
            # Without 32 and 33, which the C library catches from the first thread on.
            int(Path("/proc/self/status").read_text().partition("SigCgt:")[2].split()[0], 16) & ~(0b11 << 31),
        ],
        "logging": [logging.root.level, logging.root.manager.disable, OLD.level, OLD.propagate, OLD.disabled],
        "factory": logging.getLogRecordFactory().__name__,
    }


def new_loop():
    """As libraries do that know nothing of a loop that runs."""
    try:
        return asyncio.get_event_loop_policy().get_event_loop().is_closed()
    except RuntimeError as error:
        return str(error)


def pid():
    return os.getpid()


def numbers():
    return [random.random(), random.random()]


def waits():
    time.sleep(2)


def files():
    print("a line")
    return [id(each) for each in (sys.stdin, sys.stdout, sys.stderr)]
'''

SAID = [
    "to stdout",
    "to stderr",
    "an old logger",
    "a new logger",
    "a task's logger",
    "to the first stdout",
    "True True",
]

BLOCKS = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "

PUT_BACK = {
    # Streams and descriptors.
    "detached": 'b = sys.stdout.detach(); sys.stdout = codecs.getwriter("utf-8")(b)',
    "both-detached": "sys.stdout.detach(); sys.stderr.detach()",
    "deleted": "del sys.stdout",
    "all-deleted": "del sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__",
    "none": "sys.stdin = sys.stdout = sys.stderr = None",
    "closed": "sys.stdin.close(); sys.stdout.close(); sys.stderr.close()",
    "originals-closed": "sys.__stdin__.close(); sys.__stdout__.close(); sys.__stderr__.close()",
    "buffers-closed": "sys.stdout.buffer.close(); sys.stderr.buffer.close()",
    "raw-closed": "sys.stdout.buffer.raw.close()",
    "buffer-detached": "sys.stdout.buffer.detach()",
    "replaced": "sys.stdout = sys.stderr = io.StringIO()",
    "replaced-by-a-file": 'sys.stdout = open("left.txt", "w"); print("left")',
    "broken": "sys.stdout = type('Broken', (), {'write': None, 'flush': lambda self: 1 / 0})()",
    "reconfigured": 'sys.stdout.reconfigure(encoding="utf-16", errors="strict", line_buffering=False)',
    "newlines": 'sys.stdout.reconfigure(newline="\\r")',
    "exits-in-flush": """
class Out:
    def __getattr__(self, name):
        raise SystemExit(3)
sys.stdout = sys.stderr = sys.__stdout__ = Out()
""",
    "aborts-in-flush": "def flush(): raise KeyboardInterrupt\nsys.stdout.flush = flush",
    "write-patched": "sys.stdout.write = len",
    "flush-patched": "sys.stdout.buffer.flush = lambda: 1 / 0",
    "half-a-line": 'print("left", end="")',
    "stdin-half-read": (
        'r, w = os.pipe(); os.write(w, b"read\\nleft"); os.close(w); os.dup2(r, 0); os.close(r); sys.stdin.readline()'
    ),
    "descriptors-closed": "os.close(0); os.close(1); os.close(2)",
    "descriptors-turned": 'n = os.open("/dev/null", os.O_RDWR); [os.dup2(n, each) for each in (0, 1, 2)]',
    "descriptors-taken": 'os.close(1); FILE = open("left.txt", "w"); os.close(0); other = open("left.txt")',
    "not-blocking": "[os.set_blocking(each, False) for each in (0, 1, 2)]",
    "stdin-is-text": "sys.stdin = io.StringIO('left')",
    "no-limit-for-descriptors": (
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))"
    ),
    # The kernel's side.
    "folder": 'os.chdir("/")',
    "folder-removed": 'os.mkdir("gone"); os.chdir("gone"); os.rmdir("../gone")',
    "umask": "os.umask(0)",
    "handler": "signal.signal(signal.SIGALRM, lambda *_: None); signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    "handler-of-term": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "handler-of-children": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "handler-of-pipes": "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
    "mask": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1})",
    "pending-signals": BLOCKS
    + "[os.kill(os.getpid(), each) for each in (signal.SIGUSR2, signal.SIGXCPU, signal.SIGTERM)]",
    "pending-alarm": BLOCKS + "signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.1)",
    "pending-in-a-queue": BLOCKS + "[os.kill(os.getpid(), signal.SIGRTMIN) for _ in range(10)]",
    "alarm": "signal.signal(signal.SIGALRM, lambda *_: 1 / 0); signal.alarm(1)",
    "interval": "signal.signal(signal.SIGALRM, lambda *_: 1 / 0); signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)",
    "profile-timer": "signal.setitimer(signal.ITIMER_PROF, 1)",
    "limit": "h = resource.getrlimit(resource.RLIMIT_NOFILE)[1]; resource.setrlimit(resource.RLIMIT_NOFILE, (64, h))",
    "core": "h = resource.getrlimit(resource.RLIMIT_CORE)[1]; resource.setrlimit(resource.RLIMIT_CORE, (0, h))",
    "affinity": "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
    # The environment.
    "variable": 'os.environ["LEFT"] = "1"',
    "variable-deleted": 'del os.environ["HOME"]',
    "no-variables": "os.environ.clear()",
    "putenv": 'os.putenv("LEFT", "1")',
    "unsetenv": 'os.unsetenv("PATH"); os.unsetenv("HOME")',
    "clearenv": "ctypes.CDLL(None).clearenv()",
    "mapping": 'os.environ = {"LEFT": "1"}',
    "zone": 'os.environ["TZ"] = "Asia/Tokyo"; time.tzset()',
    "zone-behind": 'os.putenv("TZ", "Asia/Tokyo"); time.tzset()',
    "temp": 'os.environ["TMPDIR"] = os.getcwd(); tempfile.gettempdir()',
    # Logging.
    "disabled": "logging.disable()",
    "dict-config": 'logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})',
    "basic-config": 'logging.basicConfig(force=True, stream=io.StringIO(), level="CRITICAL")',
    "level": 'logging.root.setLevel("CRITICAL"); OLD.setLevel("CRITICAL")',
    "no-handlers": "logging.root.handlers.clear()",
    "handlers-list": "logging.root.handlers = []",
    "handler-muted": '[each.setLevel("CRITICAL") for each in logging.root.handlers]',
    "handler-filtered": "[each.addFilter(lambda record: False) for each in logging.root.handlers]",
    "handler-formatted": '[each.setFormatter(logging.Formatter("%(message)s!")) for each in logging.root.handlers]',
    "filter": "OLD.addFilter(lambda record: False); logging.root.addFilter(lambda record: False)",
    "lists-of-a-logger": "OLD.handlers.append(logging.NullHandler()); OLD.filters.append(lambda record: False)",
    "propagate": 'OLD.propagate = False; logging.getLogger("celery.task").propagate = False',
    "logger-disabled": "OLD.disabled = True",
    "new-logger": 'new = logging.getLogger("new"); new.propagate = False; new.setLevel("ERROR"); new.disabled = True',
    "new-handler": '[logging.getLogger(each).addHandler(logging.StreamHandler()) for each in ("new", "old", "")]',
    "shutdown": "logging.shutdown()",
    "record-factory": "logging.setLogRecordFactory(lambda *args, **kwargs: None)",
    # Python's side.
    "locale": 'locale.setlocale(locale.LC_ALL, "C" if locale.setlocale(locale.LC_ALL) != "C" else "C.UTF-8")',
    "socket": "socket.setdefaulttimeout(0.001)",
    "socket-patched": "socket.socket = socket.getaddrinfo = None",
    "ssl": "ssl._create_default_https_context = ssl._create_unverified_context",
    "opener": "urllib.request.install_opener(urllib.request.build_opener())",
    "path": 'sys.path.insert(0, "/left")',
    "path-replaced": "sys.path = []",
    "meta-path": "sys.meta_path.clear()",
    "modules": "sys.modules.clear()",
    "modules-deleted": "[sys.modules.pop(each) for each in list(sys.modules) if each.startswith(('redis', 'celery'))]",
    "module-none": "sys.modules['json'] = sys.modules['subprocess'] = None",
    "modules-replaced": "sys.modules = {}",
    "executable": "sys.executable = None",
    "argv": 'sys.argv = ["left"]',
    "argv-deleted": "del sys.argv",
    "excepthook": "sys.excepthook = threading.excepthook = sys.unraisablehook = lambda *_: None",
    "warnings": 'warnings.simplefilter("error"); warnings.showwarning = lambda *_: None',
    "decimal": "decimal.getcontext().prec = 3; decimal.DefaultContext.prec = 4",
    "default-decimal-context": (
        "context = decimal.DefaultContext; context.traps[decimal.Inexact] = True; context.Emax = 5; "
        "context.flags[decimal.Rounded] = True; context.capitals = 0"
    ),
    "error-handlers-of-codecs": (
        "[codecs.register_error(each, lambda e: 1 / 0) for each in ('strict', 'backslashreplace', 'surrogateescape')]"
    ),
    "time-of-records": "logging.Formatter.converter = time.gmtime",
    "name-of-the-thread": 'threading.current_thread().name = "left"',
    "daemonic": "multiprocessing.current_process()._config['daemon'] = True",
    "key-of-managers": 'multiprocessing.current_process().authkey = b"left"',
    "start-method": "multiprocessing.set_start_method('spawn')",
    "other-start-method": "multiprocessing.set_start_method('forkserver'); multiprocessing.Lock()",
    "name-of-the-process": 'multiprocessing.current_process().name = "left"',
    "context-variable": 'VARIABLE.set("left")',
    "recursion": "sys.setrecursionlimit(200)",
    "digits": "sys.set_int_max_str_digits(0)",
    "switch": "sys.setswitchinterval(1.0)",
    "stack": "threading.stack_size(1 << 20)",
    "collector-off": "gc.disable(); gc.set_threshold(1); gc.freeze(); gc.callbacks.append(lambda *_: None)",
    "fault": "faulthandler.disable() if faulthandler.is_enabled() else faulthandler.enable()",
    "fault-later": "faulthandler.dump_traceback_later(1, exit=True)",
    "memory": "tracemalloc.start()",
    "trace": "sys.settrace(lambda *_: None); threading.settrace(lambda *_: None)",
    "profile": "sys.setprofile(lambda *_: None); threading.setprofile(lambda *_: None)",
    "tracebacks": "sys.tracebacklimit = 0",
    "loop": "asyncio.run(asyncio.sleep(0))",
    "open-loop": "asyncio.set_event_loop(asyncio.new_event_loop())",
    "running-loop": "asyncio._set_running_loop(asyncio.new_event_loop())",
    "builtins": "import builtins; builtins.print = builtins.open = len; builtins.__import__ = None",
    "builtins-deleted": "import builtins; del builtins.print, builtins.len",
    "builtins-cleared": "import builtins; vars(builtins).clear()",
    "builtins-none": "import builtins; vars(builtins).update(dict.fromkeys(vars(builtins)))",
    "capture-warnings": "logging.captureWarnings(True)",
    "level-names": 'logging.addLevelName(logging.WARNING, "LEFT"); logging.addLevelName(logging.ERROR, "LEFT")',
    "debug-of-http": "import http.client; http.client.HTTPConnection.debuglevel = 1",
    "origins": "sys.set_coroutine_origin_tracking_depth(3); sys.set_asyncgen_hooks(len, len)",
    "scheduler": "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
    "fault-handler-of-a-signal": "faulthandler.register(signal.SIGUSR1); faulthandler.register(signal.SIGTERM)",
    "thread": "threading.Thread(target=waits, name='left-behind').start()",
}

HOLD = "threading.Thread(target=lambda: ({}, time.sleep(300)), daemon=True).start(); time.sleep(0.1)"

REPLACED = {
    "descriptors": (
        "import state; most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]; "
        "state.kept = [os.dup(0) for _ in range(most // 2)]"
    ),
    "all-descriptors": """
import state; state.kept = []
try:
    while True:
        state.kept.append(os.dup(0))
except OSError:
    pass
""",
    "audit-hook": "sys.addaudithook(lambda *_: None)",
    "audit-hook-that-raises": "sys.addaudithook(lambda event, _: 1 / 0 if event in ('open', 'import') else None)",
    "audit-hook-that-raises-always": "sys.addaudithook(lambda *_: 1 / 0)",
    "lock-of-logging": HOLD.format("logging._lock.acquire()"),
    "locks-of-handlers": HOLD.format("[each.acquire() for each in logging.root.handlers]"),
    "group": "os.setpgid(0, os.getpgid(os.getppid()))",
}
if os.getuid() == 0:
    REPLACED |= {
        "user": "os.setuid(65534)",
        "effective-user": "os.setegid(65534)",
        "groups": "os.setgroups([65534])",
        "root": "os.chroot('.')",
    }

EITHER = {
    # It depends on what the worker's user may do.
    "nice": "os.nice(1)",
    "hard-limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
}

JOBS: dict[str, Any] = {
    "do": {"task": "state:do", "params": {"code": {"type": "string"}}},
    "look": {"task": "state:look"},
    "pid": {"task": "state:pid"},
    "numbers": {"task": "state:numbers"},
    "files": {"task": "state:files"},
}


class Alone(Work):
    """A project with a worker of one process."""

    worker: Running


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Alone]:
    namespace = f"t{uuid.uuid4().hex[:10]}"
    project = write_project(
        tmp_path_factory.mktemp("state") / "p", redis_server.url, JOBS, {"state.py": MODULE}, namespace=namespace
    )
    with project.worker(concurrency=1) as worker:
        work = Alone(project)
        work.worker = worker
        yield work


def seen(alone: Alone) -> tuple[Any, list[str]]:
    """Return the findings of a run, and its output."""
    run = alone.run("look")
    assert run.state == "SUCCESS", run.error
    return run.result, [line.text for line in RunLog(alone.opened.ledger, run.id).lines()]


@pytest.mark.parametrize("name", PUT_BACK)
def test_what_a_run_leaves_behind_is_put_back(alone: Alone, name: str) -> None:
    pid, before = alone.run("pid").result, seen(alone)
    assert before[1] == SAID
    run = alone.run("do", code=PUT_BACK[name])
    # Its own timer may strike it before it returns.
    struck = name == "interval" and run.error is not None and run.error["type"] == "ZeroDivisionError"
    assert struck or (run.state, run.result) == ("SUCCESS", 1), run.error
    assert seen(alone) == before
    assert struck or alone.run("pid").result == pid


def test_a_run_that_only_writes_leaves_its_text_files_to_the_next_one(alone: Alone) -> None:
    # To make new ones takes as long as all else that is done for the log of a run.
    found = alone.run("files").result
    assert alone.run("files").result == found


HOLDS = """
import io, sys, state
state.held = io.TextIOWrapper(sys.stdout.buffer, line_buffering=True)
print("a line", file=state.held)
"""


def test_what_a_run_has_made_of_a_stream_closes_no_later_one(alone: Alone) -> None:
    before = seen(alone)
    for _ in range(3):
        # Each lets go of what the one before has made, which closes its buffer.
        run = alone.run("do", code=HOLDS)
        assert [line.text for line in RunLog(alone.opened.ledger, run.id).lines()] == ["a line"]
        assert seen(alone) == before


@pytest.mark.parametrize("name", REPLACED)
def test_a_process_that_cannot_be_put_back_is_replaced(alone: Alone, name: str) -> None:
    pid, before, line_count = alone.run("pid").result, seen(alone), len(alone.worker.lines())
    run = alone.run("do", code=REPLACED[name])
    assert (run.state, run.result) == ("SUCCESS", 1), run.error
    found = f"run {run.id} of do(: clearing up after it failed| left changed: .*, which cannot be put back)"
    alone.worker.wait_for(found, after=line_count)
    assert alone.run("pid").result != pid
    assert seen(alone) == before


@pytest.mark.parametrize("name", EITHER)
def test_what_only_some_may_put_back_is_gone_all_the_same(alone: Alone, name: str) -> None:
    before = seen(alone)
    assert alone.run("do", code=EITHER[name]).result == 1
    assert seen(alone) == before


def test_the_workers_log_says_what_was_changed(alone: Alone) -> None:
    run = alone.run("do", code='os.chdir("/"); os.umask(0); os.environ["LEFT"] = "1"; del sys.stdout')
    line = alone.worker.wait_for(f"run {run.id} of do left changed: (.*); put back")[1]
    assert sorted(line.split(", ")) == ["environment variables", "streams", "umask", "working folder"]


def test_the_workers_log_names_threads_that_go_on(alone: Alone) -> None:
    run = alone.run("do", code="threading.Thread(target=waits, name='goes-on').start()")
    alone.worker.wait_for(f"run {run.id} of do left threads that go on: goes-on")


def test_a_run_finds_random_numbers_whatever_the_last_one_seeded(alone: Alone) -> None:
    drawn = []
    for _ in range(2):
        alone.run("do", code="random.seed(42)")
        drawn.append(tuple(alone.run("numbers").result))
    assert drawn[0] != drawn[1]


def test_a_state_that_is_noted_again_and_again_holds_no_more() -> None:
    """A worker notes it anew after each import of a job: once for each job that was reloaded."""
    program = """
import os, sys
from runner.attempt.aspects import aspects_of
aspects_of()
before = len(os.listdir("/dev/fd")), sys.addaudithook
for _ in range(200):
    aspects = {each.name: each for each in aspects_of()}
assert (len(os.listdir("/dev/fd")), sys.addaudithook) == before
hooks = [each for name, each in aspects.items() if "audit" in name]
noted = hooks[0].read()
sys.addaudithook(lambda *_: None)
assert hooks[0].read() == noted + 1
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
