"""Whatever a job raises or returns is an outcome of its own run, in one attempt, and harms nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.model.run import Run, State
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.support.work import Work

MODULE = '''
import asyncio, builtins, importlib.util, os, sys
from decimal import Decimal
from pathlib import Path

import billiard.exceptions
import celery.exceptions as celery_exceptions
from celery import shared_task

from runner import current_run


# -- classes that only the job's own process knows, or that act when they are pickled

PLUGIN = """
class PluginError(Exception):
    pass

def work():
    raise PluginError("from a plugin")
"""


def plugin():
    path = Path("plugins/plugin_of_mine.py").absolute()
    path.parent.mkdir(exist_ok=True)
    path.write_text(PLUGIN)
    spec = importlib.util.spec_from_file_location("plugin_of_mine", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["plugin_of_mine"] = module
    spec.loader.exec_module(module)
    module.work()


def touch(path):
    Path(path).touch()
    return ValueError("unpickled")


class Reduces(Exception):
    def __reduce__(self):
        return touch, (str(Path("unpickled").absolute()),)


def reduces():
    raise Reduces("pickled")


class Carrier(Exception):
    def __init__(self, what):
        super().__init__(what)
        self.what = what


class Bomb:
    def __reduce__(self):
        return touch, (str(Path("unpickled").absolute()),)


def carries():
    raise Carrier(Bomb())


def carries_in_its_cause():
    raise ValueError("with a cause") from Reduces("behind it")


def local_class():
    class Local(Exception):
        pass
    raise Local("of a function")


def bad_pickle():
    class Refuses(Exception):
        def __reduce_ex__(self, protocol):
            raise SystemExit(3)
    raise Refuses("not to be pickled")


def unpickles_badly():
    raise NeedsTwo("one", "two")


class NeedsTwo(Exception):
    def __init__(self, one, two):
        super().__init__(one)


# -- what Celery or its pool treats in a special way

def memory_error():
    raise MemoryError


def too_much_memory():
    bytearray(1 << 62)


def worker_shutdown():
    raise celery_exceptions.WorkerShutdown(0)


def worker_terminate():
    raise celery_exceptions.WorkerTerminate()


def reject():
    raise celery_exceptions.Reject("no", requeue=True)


def reject_for_good():
    raise celery_exceptions.Reject("no", requeue=False)


def ignore():
    raise celery_exceptions.Ignore("no")


def retry_by_hand():
    raise celery_exceptions.Retry("again")


def retry_with_ignore():
    raise celery_exceptions.Retry(exc=celery_exceptions.Ignore())


def terminated():
    raise billiard.exceptions.Terminated("SIGTERM")


def worker_lost():
    raise celery_exceptions.WorkerLostError("by hand")


def time_limit():
    raise celery_exceptions.TimeLimitExceeded(1)


def soft_time_limit():
    raise celery_exceptions.SoftTimeLimitExceeded()


def task_revoked():
    raise celery_exceptions.TaskRevokedError("by hand")


def generator_exit():
    raise GeneratorExit


def stop_iteration():
    raise StopIteration(7)


def stop_async_iteration():
    raise StopAsyncIteration


def keyboard_interrupt():
    raise KeyboardInterrupt


def cancelled():
    raise asyncio.CancelledError


def base_group():
    raise BaseExceptionGroup("both", [KeyboardInterrupt(), ValueError("in a group")])


class Own(BaseException):
    pass


def own_base():
    raise Own("of no Exception")


def exits_as_by_a_signal():
    sys.exit(-(256 - 15))


class Code:
    def __eq__(self, other):
        raise RuntimeError("no comparison")

    def __repr__(self):
        raise RuntimeError("no words")


def exits_with_an_object():
    sys.exit(Code())


def exits_with_a_huge_number():
    sys.exit(10 ** 5000)


# -- what cannot be shown, stored, or has no end

def big_integer():
    raise ValueError(10 ** 5000)


def surrogates():
    raise ValueError(os.fsdecode(b"caf\\xe9.txt"))


def nul():
    raise ValueError("a\\0b")


def huge_message():
    raise ValueError("x" * 20_000_000)


def many_arguments():
    raise ValueError(*range(100_000))


def huge_notes():
    error = ValueError("with notes")
    for _ in range(1000):
        error.add_note("n" * 10_000)
    error.add_note(os.fsdecode(b"\\xe9"))
    raise error


def odd_notes():
    error = ValueError("with odd notes")
    error.__notes__ = [10 ** 5000, object(), None]
    raise error


class Endless(list):
    def __iter__(self):
        while True:
            yield "n"


def endless_notes():
    error = ValueError("with endless notes")
    error.__notes__ = Endless(["n"])
    raise error


def deep_causes():
    error = None
    for number in range(20_000):
        try:
            raise ValueError(f"cause {number}") from error
        except ValueError as caught:
            error = caught
    raise error


def causes_itself():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    raise one


def wide_group():
    raise ExceptionGroup("wide", [ValueError(number) for number in range(10_000)])


def deep_group():
    error = ValueError("innermost")
    for _ in range(1000):
        error = ExceptionGroup("deep", [error])
    raise error


def deep_recursion():
    deep_recursion()


def refuses(how):
    def refuse(self, *_):
        raise how
    return refuse


class NoWords(Exception):
    __str__ = __repr__ = refuses(RuntimeError("no words"))


class NoWordsAtAll(Exception):
    __str__ = __repr__ = refuses(SystemExit(5))


class OddWords(Exception):
    def __str__(self):
        return 7
    __repr__ = __str__


class NoAttributes(Exception):
    args = __cause__ = __context__ = __notes__ = property(refuses(RuntimeError("no attribute")))


class NoTruth(Exception):
    __bool__ = __len__ = __eq__ = __hash__ = refuses(RuntimeError("no truth"))


class NoClass(Exception):
    __class__ = property(refuses(RuntimeError("no class")))


class LeavesByItsClass(ValueError):
    __class__ = property(refuses(SystemExit(0)))


class AbortsByItsClass(ValueError):
    __class__ = property(refuses(KeyboardInterrupt()))


class OtherClass(ValueError):
    __class__ = property(lambda self: SystemExit)
    code = 0


class NoAttributeAtAll(Exception):
    def __getattribute__(self, name):
        raise RuntimeError("no attribute")


class Meta(type):
    def __getattribute__(cls, name):
        raise RuntimeError("no attribute of the class")

    __instancecheck__ = __subclasscheck__ = refuses(RuntimeError("no check"))


class NoAttributeOfItsClass(Exception, metaclass=Meta):
    pass


class Text(str):
    def __getitem__(self, key):
        raise RuntimeError("no part")
    encode = __len__ = __str__ = __repr__ = refuses(RuntimeError("no words"))


class OddName(Exception):
    pass


OddName.__module__ = None
OddName.__qualname__ = "x" * 100_000 + os.fsdecode(b"\\xe9")


def no_words():
    raise NoWords("said")


def no_words_at_all():
    raise NoWordsAtAll("said")


def odd_words():
    raise OddWords("said")


def no_attributes():
    raise NoAttributes("said")


def no_truth():
    raise NoTruth("said")


def no_class():
    raise NoClass("said")


def leaves_by_its_class():
    raise LeavesByItsClass("said")


def aborts_by_its_class():
    raise AbortsByItsClass("said")


def other_class():
    raise OtherClass("said")


@shared_task(bind=True)
def retries_by_its_class(self):
    raise self.retry(exc=LeavesByItsClass("said"))


class Lying:
    def __init__(self, error):
        self._error = error

    @property
    def __class__(self):
        raise self._error


def leaving_result():
    return Lying(SystemExit(0))


def leaving_inside_result():
    return {"a": [Lying(SystemExit(0))]}


def aborting_result():
    return Lying(KeyboardInterrupt())


def generator_exit_result():
    return Lying(GeneratorExit())


def clears_builtins():
    vars(builtins).clear()
    return 1


def unsets_builtins():
    vars(builtins).update(dict.fromkeys(vars(builtins)))
    return 1


def no_attribute_at_all():
    raise NoAttributeAtAll("said")


def no_attribute_of_its_class():
    raise NoAttributeOfItsClass("said")


def odd_text():
    raise ValueError(Text("said"))


def odd_name():
    raise OddName("said")


def bad_syntax():
    compile("x = = " + "1" * 1_000_000, "f", "exec")


# -- results

def huge_result():
    return "x" * 50_000_000


def deep_result():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def big_integer_result():
    return {"n": 10 ** 5000}


def endless_result():
    value = []
    value.append(value)
    return value


def endless_twice_result():
    value = []
    value += [value, value]
    return value


def doubled_result():
    value = "x"
    for _ in range(60):
        value = [value, value]
    return value


def doubled_mapping_result():
    value = "x"
    for _ in range(60):
        value = {"a": value, "b": (value,)}
    return value


def doubled_set_result():
    value = frozenset()
    for number in range(60):
        value = frozenset([value, (value, number)])
    return {1: value}


def repeated_result():
    return ["x" * 100_000_000] * 100_000


def endless_list_result():
    return Endless(["n"])


class Items(dict):
    def items(self):
        raise RuntimeError("no items")
    values = items


def odd_result():
    return Items(a=1)


class OddSet(frozenset):
    def __iter__(self):
        raise SystemExit(0)


def odd_set_result():
    return OddSet([1])


def lost_key_result():
    return {"\\udce9": 1, "\\\\udce9": 2}


# -- no fault

def half_characters():
    return {os.fsdecode(b"caf\\xe9"): [os.fsdecode(b"\\xe9"), "\\U0001f389", "a\\0b"]}


class Mute(str):
    def __str__(self):
        raise SystemExit(3)
    __repr__ = __len__ = __hash__ = __eq__ = __str__


class Broken(str):
    def __repr__(self):
        raise RuntimeError("no words")
    __str__ = __len__ = __hash__ = __eq__ = __repr__


def wordless_result(kind):
    return {"mute": lambda: Mute("x"), "broken": lambda: Broken("x"), "inside": lambda: [{"a": Mute("x")}]}[kind]()


def progress(kind):
    messages = {"half": os.fsdecode(b"caf\\xe9.txt"), "huge": "x" * 1_000_000, "nul": "a\\0b", "object": Wordless()}
    current_run().progress(Decimal("0.5"), messages.get(kind, 10 ** 5000))
    return "done"


class Wordless:
    def __str__(self):
        raise RuntimeError("no words")


@shared_task(bind=True)
def says_it_succeeded(self):
    for state in ("SUCCESS", "FAILURE", "REVOKED", "RETRY", "PENDING"):
        self.update_state(state=state, meta={"message": Wordless()})
    self.update_state(state="X" * 1_000_000, meta={"current": 10 ** 5000, "total": 1})
    raise ValueError("after all")


def echo():
    return "well"
'''

FAILURES = {
    "plugin": ("plugin_of_mine.PluginError", "from a plugin"),
    "reduces": ("hostile.Reduces", "pickled"),
    "carries": ("hostile.Carrier", "Bomb object"),
    "carries_in_its_cause": ("ValueError", "with a cause"),
    "local_class": ("hostile.local_class.<locals>.Local", "of a function"),
    "bad_pickle": ("hostile.bad_pickle.<locals>.Refuses", "not to be pickled"),
    "unpickles_badly": ("hostile.NeedsTwo", "one"),
    "memory_error": ("MemoryError", ""),
    "too_much_memory": ("MemoryError", ""),
    "worker_shutdown": ("runner.attempt.job_task.JobExit", "WorkerShutdown"),
    "worker_terminate": ("runner.attempt.job_task.JobExit", "WorkerTerminate"),
    "reject": ("RuntimeError", "raised Reject"),
    "reject_for_good": ("RuntimeError", "raised Reject"),
    "ignore": ("RuntimeError", "raised Ignore"),
    "retry_by_hand": ("celery.exceptions.MaxRetriesExceededError", "asked for a retry"),
    "retry_with_ignore": ("celery.exceptions.MaxRetriesExceededError", "asked for a retry"),
    "terminated": ("celery.exceptions.Terminated", "SIGTERM"),
    "worker_lost": ("celery.exceptions.WorkerLostError", "by hand"),
    "time_limit": ("celery.exceptions.TimeLimitExceeded", ""),
    "soft_time_limit": ("celery.exceptions.SoftTimeLimitExceeded", ""),
    "task_revoked": ("celery.exceptions.TaskRevokedError", "by hand"),
    "generator_exit": ("runner.attempt.job_task.JobAborted", "GeneratorExit"),
    "stop_iteration": ("StopIteration", "7"),
    "stop_async_iteration": ("StopAsyncIteration", ""),
    "keyboard_interrupt": ("runner.attempt.job_task.JobAborted", "KeyboardInterrupt"),
    "cancelled": ("runner.attempt.job_task.JobAborted", "CancelledError"),
    "base_group": ("runner.attempt.job_task.JobAborted", "BaseExceptionGroup"),
    "own_base": ("runner.attempt.job_task.JobAborted", "Own"),
    "exits_as_by_a_signal": ("runner.attempt.job_task.JobExit", "-241"),
    "exits_with_an_object": ("runner.attempt.job_task.JobExit", "cannot be shown"),
    "exits_with_a_huge_number": ("runner.attempt.job_task.JobExit", "cannot be shown"),
    "big_integer": ("ValueError", "cannot be shown"),
    "surrogates": ("ValueError", "caf\\udce9.txt"),
    "nul": ("ValueError", "a\0b"),
    "huge_message": ("ValueError", "xxx"),
    "many_arguments": ("ValueError", "(0, 1, 2"),
    "huge_notes": ("ValueError", "with notes"),
    "odd_notes": ("ValueError", "with odd notes"),
    "endless_notes": ("ValueError", ""),
    "deep_causes": ("ValueError", "cause 19999"),
    "causes_itself": ("ValueError", "one"),
    "wide_group": ("ExceptionGroup", "wide"),
    "deep_group": ("ExceptionGroup", "deep"),
    "deep_recursion": ("RecursionError", "recursion"),
    "no_words": ("hostile.NoWords", "cannot be shown"),
    "no_words_at_all": ("hostile.NoWordsAtAll", "cannot be shown"),
    "odd_words": ("hostile.OddWords", "cannot be shown"),
    "no_attributes": ("hostile.NoAttributes", ""),
    "no_truth": ("hostile.NoTruth", "said"),
    "no_class": ("", ""),
    "leaves_by_its_class": ("hostile.LeavesByItsClass", "said"),
    "aborts_by_its_class": ("hostile.AbortsByItsClass", "said"),
    "other_class": ("hostile.OtherClass", "said"),
    "retries_by_its_class": ("", ""),
    "leaving_result": ("runner.ledger.outcome.ResultNotKept", "SystemExit"),
    "leaving_inside_result": ("runner.ledger.outcome.ResultNotKept", "SystemExit"),
    "aborting_result": ("runner.ledger.outcome.ResultNotKept", "KeyboardInterrupt"),
    "generator_exit_result": ("runner.ledger.outcome.ResultNotKept", "GeneratorExit"),
    "no_attribute_at_all": ("", ""),
    "no_attribute_of_its_class": ("", ""),
    "odd_text": ("ValueError", "cannot be shown"),
    "odd_name": ("unknown.xxx", "said"),
    "bad_syntax": ("SyntaxError", "invalid syntax"),
    "huge_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "deep_result": ("runner.ledger.outcome.ResultNotKept", ""),
    "big_integer_result": ("runner.ledger.outcome.ResultNotKept", ""),
    "endless_result": ("runner.ledger.outcome.ResultNotKept", ""),
    "endless_twice_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "doubled_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "doubled_mapping_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "doubled_set_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "repeated_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "endless_list_result": ("runner.ledger.outcome.ResultNotKept", "limits.result"),
    "odd_result": ("runner.ledger.outcome.ResultNotKept", "no items"),
    "odd_set_result": ("runner.ledger.outcome.ResultNotKept", ""),
    "lost_key_result": ("runner.ledger.outcome.ResultNotKept", "two keys"),
    "says_it_succeeded": ("ValueError", "after all"),
}

WITH_FRAMES = ("huge_message", "huge_notes", "no_attributes")
"""Jobs whose frames are kept, beside a long message too."""

SEARCHED = [
    "plugin",
    "big_integer",
    "surrogates",
    "huge_message",
    "many_arguments",
    "huge_notes",
    "odd_notes",
    "deep_causes",
    "causes_itself",
    "wide_group",
    "no_words",
    "no_words_at_all",
    "odd_words",
    "no_attributes",
    "no_truth",
    "leaves_by_its_class",
    "leaving_result",
    "odd_text",
    "odd_name",
    "endless_notes",
    "endless_result",
    "doubled_result",
    "odd_result",
]
"""Jobs that run with a secret too, which is searched for in all that they raise."""

CLEARING: dict[str, Any] = {"clears_builtins": {}, "unsets_builtins": {}}
"""Jobs after which hardly any line of Python runs."""

GOOD = {**CLEARING, "half_characters": {}, "progress": {"params": {"kind": {"type": "string"}}}, "echo": {}}

JOBS: dict[str, Any] = {name: {"task": f"hostile:{name}"} for name in FAILURES} | {
    name: {"task": f"hostile:{name}", **options} for name, options in GOOD.items()
}
JOBS |= {
    f"{name}-with-a-secret": {"task": f"hostile:{name}", "secrets": {"KEY": "env:HOSTILE_KEY"}} for name in SEARCHED
}

IMPORTS = {
    "big": "raise ValueError(10 ** 5000)",
    "huge": "raise ValueError('x' * 10_000_000)",
    "half": "import os\nraise ValueError(os.fsdecode(b'\\xe9'))",
    "mute": "class Mute(Exception):\n    def __str__(self):\n        raise SystemExit(3)\nraise Mute",
    "forks": "import os\nif os.fork() == 0:\n    raise KeyError\nos.wait()\nraise ValueError('of the parent')",
    "leaves": "import os\nif os.fork() == 0:\n    raise SystemExit(0)\nos.wait()\nraise ValueError('of the parent')",
}
"""Modules that fail when they are imported."""

KIND = {"params": {"kind": {"type": "string"}}}
JOBS |= {
    "wordless": {"task": "hostile:wordless_result", **KIND},
    "wordless-apart": {"task": "hostile:wordless_result", "isolation": "process", **KIND},
}
JOBS |= {f"imports-{name}": {"task": f"failing_{name}:run"} for name in IMPORTS}

TRACEBACK_LIMIT = 16 * 1024
MOST_BYTES = 100_000
"""Of a run document as JSON: limits.traceback, limits.result, the message's 8192 characters, and little more."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[tuple[Work, Running]]:
    settings = {"limits": {"result": "4KiB", "traceback": f"{TRACEBACK_LIMIT // 1024}KiB"}}
    # Celery's events go the same way as outcomes.
    settings["celery"] = {"worker_send_task_events": True}  # type: ignore[dict-item]
    folder = tmp_path_factory.mktemp("hostile") / "p"
    files = {"hostile.py": MODULE, **{f"failing_{name}.py": text for name, text in IMPORTS.items()}}
    project = write_project(folder, redis_server.url, JOBS, files, settings)
    with project.worker(concurrency=2, env={"HOSTILE_KEY": "hunter2-hunter2"}) as worker:
        yield Work(project), worker
        # A child that dies is not a worker that ends, but none has a reason to die here either.
        assert "exited with" not in worker.log
        assert "Unrecoverable" not in worker.log


def is_whole(work: Work, worker: Running, run: Run) -> None:
    """Fail unless the worker is well, and what it recorded is bounded and can be read."""
    assert work.run("echo").result == "well"
    assert worker.process.poll() is None
    text = json.dumps(work.opened.ledger.get(run.id).document(), ensure_ascii=False)
    assert len(text.encode()) <= MOST_BYTES
    assert not (work.project.path / "unpickled").exists()


@pytest.mark.parametrize("job", FAILURES)
def test_what_a_job_raises_fails_its_own_run_once(hostile: tuple[Work, Running], job: str) -> None:
    work, worker = hostile
    before = len(worker.log)
    run = work.run(job)
    cls, message = FAILURES[job]
    assert (run.state, run.reason, run.attempts, run.losses) == (State.FAILURE, "exception", 1, 0)
    assert run.error is not None
    assert run.error["type"].startswith(cls)
    assert message in run.error["message"]
    assert len((run.error["traceback"] or "").encode()) <= TRACEBACK_LIMIT + 20
    assert job not in WITH_FRAMES or f"in {job}" in run.error["traceback"]
    is_whole(work, worker, run)
    assert len(worker.log) - before <= MOST_BYTES


@pytest.mark.parametrize("job", SEARCHED)
def test_what_cannot_be_searched_for_secrets_is_an_outcome_too(hostile: tuple[Work, Running], job: str) -> None:
    work, worker = hostile
    run = work.run(f"{job}-with-a-secret")
    assert (run.state, run.reason, run.attempts, run.losses) == (State.FAILURE, "exception", 1, 0)
    assert run.error is not None
    assert run.error["type"].startswith(FAILURES[job][0])
    is_whole(work, worker, run)


@pytest.mark.parametrize("name", IMPORTS)
def test_a_module_that_fails_in_a_hostile_way_quarantines_its_job_alone(
    hostile: tuple[Work, Running], name: str
) -> None:
    work, worker = hostile
    run = work.run(f"imports-{name}")
    assert (run.state, run.reason) == (State.FAILURE, "import_error")
    is_whole(work, worker, run)


def test_a_result_that_is_not_quite_text_is_kept(hostile: tuple[Work, Running]) -> None:
    work, worker = hostile
    run = work.run("half_characters")
    assert run.result == {"caf\\udce9": ["\\udce9", "\U0001f389", "a\0b"]}
    is_whole(work, worker, run)


@pytest.mark.parametrize(("kind", "kept"), [("mute", "x"), ("broken", "x"), ("inside", [{"a": "x"}])])
@pytest.mark.parametrize("job", ["wordless", "wordless-apart"])
def test_a_result_that_celery_cannot_log_is_kept(
    hostile: tuple[Work, Running], job: str, kind: str, kept: object
) -> None:
    work, worker = hostile
    run = work.run(job, kind=kind)
    assert (run.state, run.result, run.attempts, run.losses) == (State.SUCCESS, kept, 1, 0), run.error
    is_whole(work, worker, run)


@pytest.mark.parametrize("kind", ["half", "huge", "nul", "object", "number"])
def test_progress_has_a_limit_and_can_be_read(hostile: tuple[Work, Running], kind: str) -> None:
    work, worker = hostile
    run = work.run("progress", kind=kind)
    assert (run.state, run.result) == (State.SUCCESS, "done")
    assert run.progress is not None
    assert run.progress["fraction"] == 0.5
    assert 0 < len(run.progress["message"]) <= 500
    is_whole(work, worker, run)


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_pools_without_children_outlive_the_same(
    make_project: Callable[..., Project], pool: str, tmp_path: Path
) -> None:
    jobs = {name: JOBS[name] for name in (*FAILURES, *CLEARING, "echo")}
    project = make_project(jobs, {"hostile.py": MODULE})
    work = Work(project)
    with project.worker("-P", pool, concurrency=1) as worker:
        # In threads, another one may find the process so.
        for name in CLEARING if pool == "solo" else ():
            assert work.run(name).result == 1
        handles = {name: work.submit(name) for name in FAILURES}
        for name, handle in handles.items():
            run = handle.wait(60.0)
            assert (run.state, run.reason, run.attempts) == (State.FAILURE, "exception", 1), name
        is_whole(work, worker, run)
