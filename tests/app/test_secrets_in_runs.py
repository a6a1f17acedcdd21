"""Secrets in real runs: they reach the job, and nothing of what is kept, sent or logged holds them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from runner.ledger.submission import Submission
from runner.model.run import Run
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import Server, serving
from tests.support.work import Work

KEY = "k3y-of-the-api/" + "+" * 5 + "'quoted\"-ä"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END KEY-----"
TOKEN = "74617391"
"""All digits, so that it is a number and not a text in YAML."""

LATE = "c4me-l4ter"
"""No secret until a job names it."""

PARTS = [KEY, json.dumps(KEY)[1:-1], *PEM.splitlines(), TOKEN]

MODULE = '''
import json, logging, os, subprocess, sys, time
from celery import shared_task
from runner import current_run
from runner.tasks.shell import run as shell_run

KEY, PEM = os.environ.get("API_KEY"), None


def secrets():
    return os.environ["API_KEY"], os.environ["PEM"], os.environ["TOKEN"]


def digest(**given):
    """Prove that they arrived, without showing them."""
    import hashlib
    names = ("API_KEY", "PEM", "TOKEN", "MODE")
    return {**given, **{n: hashlib.sha256(os.environ[n].encode()).hexdigest() for n in names if n in os.environ}}


def shows():
    key, pem, token = secrets()
    print("printed", key, repr(key), json.dumps({"key": key}), token)
    print(pem)
    logging.getLogger("jobs.own").warning("logged %s and %s", key, [key, pem])
    subprocess.run(["/bin/sh", "-c", "echo from a shell $TOKEN; printf '%s\\\\n' \\"$PEM\\" >&2; env"], check=True)
    os.write(1, key.encode()[:6]); time.sleep(0.2); os.write(1, key.encode()[6:] + b"\\n")
    print("x" * 16380 + token)
    current_run().progress(0.5, "half of " + key)
    return {"key": key, "list": [pem, token, int(token)], key: [float(token)], "path": __import__("pathlib").Path(key)}


class Told(Exception):
    def __init__(self, key):
        super().__init__("plain")
        self._told = (lambda: key,)

    def __str__(self):
        return self._told[0]()


def fails(how):
    key, pem, token = secrets()
    if how == "exit":
        sys.exit(f"cannot go on with {key} {token}")
    if how == "custom":
        raise Told(key)
    if how == "system":
        open("/none/" + pem)
    try:
        raise KeyError(key, pem)
    except KeyError as error:
        raise ValueError(f"bad {key}", int(token)) from error


@shared_task(bind=True)
def bound(self):
    key, pem, token = secrets()
    self.update_state(state="PROGRESS", meta={"current": 1, "total": 2, "message": key})
    if self.request.retries == 0:
        raise self.retry(exc=ConnectionError(key))
    return token


def leaves(gate, done):
    """Leave a thread and a program behind that tell the secrets once the gate is open."""
    import threading
    key, pem, token = secrets()
    stream, log = sys.stdout, logging.getLogger("jobs.left")
    script = 'while [ ! -e "$0" ]; do sleep 0.05; done; echo "a program said $TOKEN"; echo "$API_KEY" >&2; : > "$1"'
    subprocess.Popen(["/bin/sh", "-c", script, gate, done + ".program"], start_new_session=True)

    def tell():
        while not os.path.exists(gate):
            time.sleep(0.05)
        print("a thread printed", key, json.dumps([json.dumps(key)]), file=sys.stdout, flush=True)
        try:
            print("its old stream has", token, file=stream, flush=True)
        except ValueError:
            pass
        log.warning("a thread logged %s", [key, pem])
        os.write(1, f"a descriptor took {token}\\n".encode())
        os.write(2, f"another one took {token}\\n".encode())
        open(done, "w").close()

    threading.Thread(target=tell, daemon=True).start()


def prints_environment():
    print(dict(os.environ))
    return {"API_KEY" in os.environ: dict(os.environ)}
'''

SECRETS = {"API_KEY": "env:WORKER_API_KEY", "PEM": "file:pem", "TOKEN": "env:WORKER_TOKEN"}
HOW = {"how": {"enum": ["plain", "exit", "custom", "system"]}}
RETRY = {"max_retries": 1, "delay": "50ms", "jitter": False}

JOBS: dict[str, Any] = {
    "digest": {
        "task": "work:digest",
        "secrets": SECRETS,
        "params": {"n": {"type": "integer"}},
        "env": {"MODE": "${params.n}/${env.WORKER_MODE}"},
        "kwargs": {
            "number": "${params.n}",
            "path": "${run.id}/${env.WORKER_MODE}",
            "slot": "${run.slot}",
            "l": "$${x}",
        },
    },
    "slot": {"task": "work:digest", "kwargs": {"slot": "${run.slot}", "at": "slot ${run.slot}"}},
    "shows": {"task": "work:shows", "secrets": SECRETS},
    "fails": {"task": "work:fails", "secrets": SECRETS, "params": HOW, "retry": RETRY},
    "bound": {"task": "work:bound", "secrets": SECRETS, "retry": RETRY},
    "shell": {
        "task": "runner.tasks.shell:run",
        "secrets": SECRETS,
        "kwargs": {"script": 'printf "%s %s\\n" "$API_KEY" "$TOKEN"; printf "%s\\n" "$PEM"; exit 3'},
    },
    "fails-at-import": {"task": "broken:run"},
    "other": {"task": "work:prints_environment"},
    "leaves": {
        "task": "work:leaves",
        "secrets": SECRETS,
        "params": {"gate": {"type": "string"}, "done": {"type": "string"}},
    },
    "unset": {"task": "work:digest", "secrets": {"A": "env:NOT_SET_ANYWHERE"}, "retry": RETRY},
    "no-file": {"task": "work:digest", "secrets": {"A": "file:/none/at/all"}},
    "open-file": {"task": "work:digest", "secrets": {"A": "file:open"}},
    "unset-variable": {"task": "work:digest", "kwargs": {"x": "${env.NOT_SET_ANYWHERE}"}},
    "nul": {"task": "work:digest", "params": {"x": {}}, "env": {"X": "${params.x}"}},
    # Under another name nobody can tell before the import that it is a stock task.
    "code": {
        "task": "work:shell_run",
        "params": {"x": {"type": "string"}},
        "kwargs": {"script": "echo ${params.x}"},
    },
}


BROKEN = 'import os\nraise ValueError("no answer with " + os.environ["WORKER_API_KEY"])\n'


class Overheard(threading.Thread):
    """Everything that is published in Redis: events of Celery are, and are kept nowhere."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(daemon=True)
        self.said: list[str] = []
        self._over = False
        self._ear = client.pubsub()
        self._ear.psubscribe("*")
        # The answer to this means that all that follows is heard.
        self._ear.get_message(timeout=10)
        self.start()

    def run(self) -> None:
        while not self._over:
            message = self._ear.get_message(timeout=0.1)
            if message is not None:
                self.said.append(repr(message["data"]) + str(message["data"]))

    def end(self) -> list[str]:
        self._over = True
        self.join()
        self._ear.close()
        return self.said


class Place(Work):
    """A project with a worker that has secrets, what it says, and what is said in Redis."""

    worker: Running
    overheard: Overheard


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("secrets")
    settings = {"worker": {"lease": "5s"}, "celery": {"worker_send_task_events": True}}
    project = write_project(
        folder / "p",
        redis_server.url,
        JOBS,
        {"work.py": MODULE, "broken.py": BROKEN, "pem": PEM, "open": KEY},
        settings,
    )
    (project.path / "open").chmod(0o666)
    environment = {"WORKER_API_KEY": KEY, "WORKER_TOKEN": TOKEN, "WORKER_MODE": "full", "WORKER_LATE": LATE}
    found = Place(project)
    client = project.redis()
    found.overheard = Overheard(client)
    with project.worker("--log-level", "DEBUG", env=environment) as found.worker:
        yield found
    found.overheard.end()
    client.close()


def everything(client: redis.Redis) -> Iterator[tuple[str, str]]:
    """Yield each key of the server and all that it holds."""
    read: dict[str, Callable[[Any], Any]] = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "stream": client.xrange,
    }
    for key in client.scan_iter(count=1000):
        kind = client.type(key)
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        if name in read:
            held = read[name](key)
            yield f"{key!r}", f"{held!r} {held}"


def assert_nowhere(place: Place, run: Run) -> None:
    """Fail if any part of any secret stands anywhere that is not the environment of the run."""
    project = place.project
    client = project.redis()
    shown = {f"key {key}": text for key, text in everything(client)}
    client.close()
    shown["published"] = "\n".join(place.overheard.said)
    shown["log of the worker"] = place.worker.stderr + place.worker.stdout
    for words in (("status", run.id), ("status", run.id, "--json"), ("logs", run.id), ("runs", "--json")):
        result = project.cli(*words)
        shown[" ".join(words)] = result.stdout + result.stderr
    found = [(where, part) for where, text in shown.items() for part in PARTS if part in text]
    assert found == []


def run(place: Place, job: str, **params: Any) -> Run:
    """Run a job to its end, and until the worker's log tells of it."""
    ended = place.run(job, **params)
    wait_until(lambda: ended.id in place.worker.stderr, 30.0, f"{ended.id} in the log of the worker")
    return ended


def test_a_job_finds_its_secrets_and_what_its_run_brings(place: Place) -> None:
    ended = run(place, "digest", n=3)
    expected = {"API_KEY": KEY, "PEM": PEM, "TOKEN": TOKEN, "MODE": "3/full"}
    hashed = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in expected.items()}
    given = {"n": 3, "number": 3, "path": f"{ended.id}/full", "slot": None, "l": "${x}"}
    assert ended.result == {**given, **hashed}


def test_a_scheduled_run_knows_its_slot(place: Place) -> None:
    job = place.opened.catalog.jobs["slot"]
    place.opened.ledger.submit(
        Submission(
            id=(run_id := str(uuid4())), job=job, params={}, queue="default", priority=5, trigger="schedule", slot=0
        )
    )
    document = place.project.wait_for_state(run_id, "SUCCESS", "FAILURE")
    assert document["result"] == {"slot": "1970-01-01T00:00:00.000Z", "at": "slot 1970-01-01T00:00:00.000Z"}


def test_a_module_that_tells_them_when_its_import_fails(place: Place) -> None:
    ended = run(place, "fails-at-import")
    assert (ended.state, ended.reason) == ("FAILURE", "import_error")
    assert ended.error is not None
    assert "ValueError: no answer with ***" in ended.error["message"]
    assert_nowhere(place, ended)


def test_a_module_that_tells_them_where_a_process_of_the_pool_imports_it(place: Place) -> None:
    text = "jobs: {imported-later: {task: 'broken_too:run'}}"
    place.project.write({"broken_too.py": BROKEN, "jobs.d/imported-later.yaml": text})
    place.worker.wait_for("jobs are reloaded: added imported-later", 30.0)
    run_id = place.project.submit("imported-later")
    ended = place.opened.ledger.get(place.project.wait_for_state(run_id, "FAILURE")["id"])
    assert ended.reason == "import_error"
    assert_nowhere(place, ended)


def test_a_job_that_shows_them_everywhere(place: Place) -> None:
    ended = run(place, "shows")
    assert ended.state == "SUCCESS"
    assert ended.result["key"] == ended.result["path"] == "***"
    log = place.project.cli("logs", ended.id).check().stdout
    assert "printed *** " in log
    assert "logged *** and" in log
    assert "from a shell ***" in log
    assert_nowhere(place, ended)


@pytest.mark.parametrize("how", ["plain", "exit", "custom", "system"])
def test_errors_tell_what_happened_without_them(place: Place, how: str) -> None:
    ended = run(place, "fails", how=how)
    assert (ended.state, ended.reason, ended.retries) == ("FAILURE", "exception", 1)
    assert ended.error is not None
    assert "***" in ended.error["message"]
    assert how == "exit" or "in fails" in ended.error["traceback"]
    assert_nowhere(place, ended)


@pytest.mark.parametrize("job", ["bound", "shell"])
def test_celery_tasks_and_commands(place: Place, job: str) -> None:
    assert_nowhere(place, run(place, job))


def test_another_job_of_the_same_worker(place: Place) -> None:
    ended = run(place, "other")
    assert list(ended.result) == ["false"]
    assert ended.result["false"]["WORKER_API_KEY"] == "***"
    assert_nowhere(place, ended)


def test_a_secret_of_a_job_that_came_while_the_worker_runs(place: Place) -> None:
    text = "jobs:\n  late:\n    task: work:prints_environment\n    secrets: {LATE: 'env:WORKER_LATE'}\n"
    place.project.write({"jobs.d/late.yaml": text})
    place.worker.wait_for("jobs are reloaded: added late", 30.0)
    for job in ("late", "other"):
        run_id = place.project.submit(job)
        ended = place.project.wait_for_state(run_id, "SUCCESS", "FAILURE")
        assert ended["result"]["false"]["WORKER_LATE"] == "***"
        log = place.project.cli("logs", run_id).check().stdout
        assert "WORKER_LATE" in log
        assert LATE not in log


@pytest.mark.parametrize(
    ("job", "part"),
    [
        ("unset", "A: the variable NOT_SET_ANYWHERE is not set in the environment of the worker"),
        ("no-file", "A: /none/at/all cannot be read: No such file or directory"),
        ("open-file", "can be written by anybody, run: chmod o-w"),
        ("unset-variable", "kwargs.x: ${env.NOT_SET_ANYWHERE}: the variable NOT_SET_ANYWHERE is not set"),
    ],
)
def test_a_missing_secret_ends_the_run_before_the_job_starts(place: Place, job: str, part: str) -> None:
    ended = run(place, job)
    assert (ended.state, ended.reason, ended.retries) == ("FAILURE", "missing_secret", 0)
    assert ended.error is not None
    assert part in ended.error["message"]
    assert ended.error["traceback"] is None
    assert ended.error["type"].endswith("MissingSecret")


def test_a_param_that_no_variable_can_hold(place: Place) -> None:
    ended = place.run("nul", x="a\0b")
    assert (ended.state, ended.reason) == ("FAILURE", "invalid_params")


def test_a_script_with_params_in_it_is_refused(place: Place) -> None:
    ended = place.run("code", x="; touch PWNED")
    assert (ended.reason, (place.project.path / "PWNED").exists()) == ("import_error", False)
    assert ended.error is not None
    assert "kwargs.script: ${params.x} would let a submitter write code" in ended.error["message"]


def test_the_worker_says_at_its_start_what_is_missing(place: Place) -> None:
    assert "job unset: its runs end in FAILURE/missing_secret: A: the variable NOT_SET" in place.worker.stderr


def test_a_pool_that_cannot_keep_them_refuses_such_jobs(tmp_path: Path, redis_server: Server) -> None:
    jobs = {"a": {"task": "os:getpid", "secrets": {"A": "env:A"}}}
    project: Project = write_project(tmp_path / "p", redis_server.url, jobs)
    command = [sys.executable, "-m", "celery", "-A", "runner", "worker", "-P", "solo", "-l", "INFO"]
    environment = {**os.environ, "RUNNER_PROJECT": str(project.path)}
    done = subprocess.run(command, cwd=project.path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "a (secrets)" in done.stdout + done.stderr


@pytest.mark.parametrize("between", [(), ("digest", "other")])
def test_what_a_run_has_left_behind_tells_them_later(place: Place, tmp_path: Path, between: tuple[str, ...]) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    ended = run(place, "leaves", gate=str(gate), done=str(done))
    assert ended.state == "SUCCESS"
    for job in between:
        run(place, job)
    before = len(place.worker.lines())
    gate.touch()
    wait_until(lambda: done.exists() and done.with_suffix(".program").exists(), 30.0, "all is told")
    for text in ("a thread printed", "a thread logged", "a descriptor took", "another one took", "a program said"):
        place.worker.wait_for(text + ".*[*]{3}", 30.0, after=before)
    assert_nowhere(place, ended)


URL_MODULE = """
import os
from urllib.parse import quote

from runner.settings import load_settings


def shows():
    url = load_settings().redis_url
    print("the runner has", url, repr(url.encode()), quote(url, safe=""))
    print("the environment has", os.environ.get("SECRET_URL"))
    raise ValueError(f"cannot connect to {url}")
"""


@pytest.mark.parametrize("given", ["as it is", "env", "file"])
def test_the_password_of_redis_is_a_secret_of_every_run(tmp_path: Path, given: str) -> None:
    with serving("redis-tcp", tmp_path / "server") as server:
        password = server.url.partition("@")[0].rpartition(":")[2]
        redis_url = {"as it is": server.url, "env": "env:SECRET_URL", "file": "file:url"}[given]
        project = write_project(
            tmp_path / "p", redis_url, {"shows": {"task": "urls:shows"}}, {"urls.py": URL_MODULE, "url": server.url}
        )
        (project.path / "url").chmod(0o600)
        (project.path / "runner.yaml").chmod(0o600)
        project.environment["SECRET_URL"] = server.url
        with project.worker(concurrency=1) as worker:
            run_id = project.submit("shows")
            output = json.dumps(project.cli("wait", run_id, "--json").check(1).json)
            worker.wait_for(f"{run_id}.*raised", 30.0)
            output += project.cli("logs", run_id).check().stdout + worker.log
        assert "cannot connect to" in output
        assert "the environment has" in output
        assert password not in output
        if given != "as it is":
            assert "127.0.0.1:" not in output.replace("Connected to redis://:**@127.0.0.1:", "")
