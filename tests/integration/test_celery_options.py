"""Every option of Celery's submissions is obeyed or refused by its name, as the table of the docs says."""

from __future__ import annotations

import inspect
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import celery
import kombu
import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

import runner
from runner.app.celery_options import OBEYED, REFUSED
from runner.app.factory import RunnerApp, create_app
from runner.errors import RunnerError, Unavailable, UnknownJob, UnknownRun, UsageError
from runner.ledger.ledger import Ledger
from tests.support.deadline import wait_until
from tests.support.project import Project, Result, celery_cli, write_project
from tests.support.servers import Server

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "celery-clients.md"

JOBS: dict[str, Any] = {
    "add": {"task": "options_work:add", "params": {"a": {"type": "integer", "default": 1}}},
    "timed": {"task": "options_work:add", "params": {"a": {"type": "integer", "default": 1}}, "timeout": "30s"},
    "hold": {"task": "options_work:hold"},
    "fails": {"task": "options_work:fails"},
}
WORK = """
import time
from pathlib import Path

def add(a):
    return a + 10

def hold():
    end = time.monotonic() + 60
    while not Path("release").exists() and time.monotonic() < end:
        time.sleep(0.02)
    return "held"

def fails():
    raise ValueError("no")
"""

OTHER = celery.Signature("add")
ASKS: dict[str, Any] = {
    "link": OTHER,
    "link_error": [OTHER],
    "chain": [OTHER],
    "chord": OTHER,
    "group_id": str(uuid.uuid4()),
    "group_index": 1,
    "time_limit": 5,
    "soft_time_limit": 4.5,
    "exchange": "elsewhere",
    "exchange_type": "topic",
    "routing_key": "elsewhere",
    "router": object(),
    "route_name": "elsewhere",
    "connection": object(),
    "producer": object(),
    "publisher": object(),
    "retry": False,
    "retry_policy": {"max_retries": 3},
    "delivery_mode": 1,
    "mandatory": True,
    "immediate": True,
    "declare": [object()],
    "reply_to": "answers",
    "serializer": "pickle",
    "compression": "zlib",
    "headers": {"tenant": "acme"},
    "shadow": "another name",
    "retries": 2,
    "replaced_task_nesting": 1,
    "stamped_headers": ["tenant"],
}
"""A value of each refused option that asks for something."""

NEUTRAL: dict[str, Any] = {
    "link": [],
    "link_error": None,
    "chain": None,
    "chord": None,
    "serializer": "json",
    "retry": True,
    "retries": 0,
    "delivery_mode": 2,
    "mandatory": False,
    "time_limit": None,
    "headers": {"traceparent": "00-0-0-00", "sentry-trace": "x", "headers": {"baggage": "y"}},
    "compression": None,
    "reply_to": "",
}
NO_OPTIONS = {"self", "name", "args", "kwargs", "options", "body", "properties", "task_type"}
OF_KOMBU = {"content_type", "content_encoding", "expiration", "timeout", "confirm_timeout"}
"""Options of Kombu's publishing that Celery documents nowhere: refused as any unknown one."""


def table() -> dict[str, tuple[str, str]]:
    """Return option: (generated app, plain client) as the page says."""
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| ([\w ]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {option: (app, plain) for option, app, plain in rows}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[Project]:
    project = write_project(tmp_path_factory.mktemp("options") / "p", redis_server.url, JOBS, {"options_work.py": WORK})
    with project.worker(concurrency=4):
        yield project


@pytest.fixture(scope="module")
def app(project: Project) -> RunnerApp:
    return create_app(project.settings, project.catalog)


@pytest.fixture(scope="module")
def plain(redis_server: Server) -> Iterator[Celery]:
    client = Celery("stranger", broker=redis_server.celery_url, backend=redis_server.celery_url, set_as_current=False)
    client.conf.broker_connection_retry_on_startup = False
    client.conf.accept_content = ["json", "pickle"]
    yield client
    client.close()


@pytest.fixture
def ledger(project: Project) -> Iterator[Ledger]:
    ledger = project.ledger()
    yield ledger
    ledger.close()


def test_the_table_has_every_option_there_is() -> None:
    known = {*REFUSED, *OBEYED}
    assert set(table()) == known
    assert {option for option, (app, _) in table().items() if app == "obeyed"} == set(OBEYED)
    offered = {
        name
        for function in (celery.Celery.send_task, celery.Task.apply_async, kombu.Producer.publish)
        for name in inspect.signature(function).parameters
    }
    exec_options = {"queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode"}
    exec_options |= {"compression", "time_limit", "soft_time_limit", "immediate", "mandatory", "ignore_result"}
    assert (offered | exec_options) - NO_OPTIONS - OF_KOMBU <= known
    assert set(ASKS) == set(REFUSED)


CALLS: dict[str, Callable[..., Any]] = {
    "send_task": lambda app, **options: app.send_task("add", **options),
    "apply_async": lambda app, **options: app.tasks["add"].apply_async(**options),
    "signature": lambda app, **options: app.signature("add").apply_async(**options),
    "signature with options": lambda app, **options: app.signature("add", options=options).apply_async(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("option", ASKS)
def test_the_generated_app_refuses_by_name(app: RunnerApp, ledger: Ledger, call: str, option: str) -> None:
    if option == "route_name" and call.startswith("signature"):
        return  # Celery's signatures keep it to themselves
    before = {run.id for run in ledger.runs(limit=10_000)}
    with pytest.raises(UsageError, match=rf"\b{option}\b") as refused:
        CALLS[call](app, **{option: ASKS[option]})
    assert refused.value.hint
    assert {run.id for run in ledger.runs(limit=10_000)} == before


@pytest.mark.parametrize("option", [*sorted(OF_KOMBU), "user_id", "no_such_option"])
def test_the_generated_app_refuses_what_nobody_knows(app: RunnerApp, option: str) -> None:
    given: dict[str, Any] = {option: "x"}
    with pytest.raises(UsageError, match=option):
        app.send_task("add", **given)


@pytest.mark.parametrize("option", NEUTRAL)
def test_what_asks_for_nothing_is_accepted(app: RunnerApp, option: str) -> None:
    assert app.send_task("add", **{option: NEUTRAL[option]}).get(timeout=30) == 11


def test_the_limits_of_the_job_itself_are_accepted(app: RunnerApp) -> None:
    assert app.send_task("timed", time_limit=30).get(timeout=30) == 11
    assert app.tasks["timed"].delay(a=2).get(timeout=30) == 12


@pytest.mark.parametrize(
    ("named", "canvas"),
    [
        ("chain", lambda app: chain(app.signature("add"), app.signature("add"))),
        ("link", lambda app: app.signature("add").on_error(app.signature("add"))),
        ("link", lambda app: app.signature("add").set(link=[app.signature("add")])),
        ("group", lambda app: group(app.signature("add"), app.signature("add"))),
        ("chord", lambda app: chord([app.signature("add"), app.signature("add")], app.signature("add"))),
        ("celery.starmap", lambda app: app.tasks["add"].starmap([(1,)])),
    ],
    ids=["chain", "on_error", "link", "group", "chord", "starmap"],
)
def test_canvases_are_refused_before_anything_is_sent(
    app: RunnerApp, ledger: Ledger, named: str, canvas: Callable[[RunnerApp], Any]
) -> None:
    before = {run.id for run in ledger.runs(limit=10_000)}
    with pytest.raises(RunnerError, match=named):
        canvas(app).apply_async()
    assert {run.id for run in ledger.runs(limit=10_000)} == before


def test_the_generated_app_obeys_times(app: RunnerApp, ledger: Ledger) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for options in (
        {"countdown": 3600},
        {"eta": later},
        {"eta": later.replace(tzinfo=None)},
        {"eta": later.isoformat()},
    ):
        run = ledger.get(app.send_task("add", expires=7200, **options).id)
        assert run.eta is not None
        assert abs(datetime.fromisoformat(run.eta) - later) < timedelta(minutes=5)
        # Celery counts expires from now.
        assert run.expires_at is not None
        assert abs(datetime.fromisoformat(run.expires_at) - later - timedelta(hours=1)) < timedelta(minutes=5)
        ledger.revoke(run.id, by=None)
    for expires in (later, later.replace(tzinfo=None), later.isoformat(), 3600, 3600.5):
        run = ledger.get(app.send_task("hold", countdown=60, expires=expires).id)
        assert run.expires_at is not None
        assert abs(datetime.fromisoformat(run.expires_at) - later) < timedelta(minutes=5)
        ledger.revoke(run.id, by=None)
    past = app.send_task("add", expires=datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(TaskRevokedError):
        past.get(timeout=30)
    for odd in ({"eta": "soon"}, {"eta": 5}, {"expires": "soon"}, {"countdown": 1, "eta": later}, {"countdown": "1"}):
        with pytest.raises(UsageError):
            app.send_task("add", **odd)


def test_the_generated_app_obeys_the_rest(app: RunnerApp, ledger: Ledger) -> None:
    class Mine(AsyncResult):  # type: ignore[misc]  # Celery has no types
        pass

    run_id = str(uuid.uuid4())
    sent = app.send_task("add", queue=kombu.Queue("slow"), priority=9, countdown=60, task_id=run_id)
    run = ledger.get(sent.id)
    assert (run.id, run.queue, run.priority) == (run_id, "slow", 9)
    ledger.revoke(run.id, by=None)
    ignored = app.tasks["add"].apply_async(ignore_result=True, root_id="a.b", parent_id="c:d", add_to_parent=False)
    wait_until(lambda: ledger.get(ignored.id).final, 30.0, "it ends")
    assert (ledger.get(ignored.id).state, ledger.get(ignored.id).result) == ("SUCCESS", None)
    made = app.send_task("add", result_cls=lambda id: Mine(id, app=app))
    assert isinstance(made, Mine)


@pytest.mark.parametrize("terminate", [False, True])
def test_revoking_goes_through_the_ledger(app: RunnerApp, project: Project, terminate: bool) -> None:
    waiting = app.send_task("add", countdown=3600)
    waiting.revoke(terminate=terminate)
    assert (waiting.state, project.document(waiting.id)["reason"]) == ("REVOKED", "cancelled")
    running = app.send_task("hold")
    project.wait_for_state(running.id, "STARTED")
    running.revoke(terminate=terminate, signal="SIGTERM", wait=True, timeout=1)
    if terminate:
        assert project.wait_for_state(running.id, "REVOKED")["reason"] == "terminated"
    else:
        assert project.document(running.id)["revocation"]["by"]
        app.control.terminate([running.id], signal=9)
        project.wait_for_state(running.id, "REVOKED")
    with pytest.raises(UnknownRun):
        app.AsyncResult(str(uuid.uuid4())).revoke()
    calls: list[Callable[[], object]] = [
        lambda: app.control.revoke(running.id, destination=["x"]),
        lambda: app.control.revoke(running.id, signal="STOP"),
        lambda: app.control.revoke_by_stamped_headers({"a": "b"}),
        lambda: running.revoke_by_stamped_headers({"a": "b"}),
    ]
    for refused in calls:
        with pytest.raises(UsageError):
            refused()


def test_apply_performs_the_job_here_or_says_why_not(app: RunnerApp, ledger: Ledger) -> None:
    before = {run.id for run in ledger.runs(limit=10_000)}
    assert app.tasks["add"].apply(kwargs={"a": 5}).get() == 15
    assert app.signature("add", kwargs={"a": 6}).apply().get() == 16
    failed = app.tasks["fails"].apply()
    assert (failed.state, type(failed.result)) == ("FAILURE", ValueError)
    with pytest.raises(ValueError, match="no"):
        app.tasks["fails"].apply(throw=True)
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: app.tasks["timed"].apply(), "timeout"),
        (lambda: app.tasks["add"].apply(link=OTHER), "link"),
        (lambda: app.tasks["add"].apply(countdown=5), "now"),
        (lambda: app.tasks["add"].apply((1,)), "keyword"),
        (lambda: app.tasks["add"].apply(kwargs={"b": 1}), "not declared"),
    ]
    for refused, named in calls:
        with pytest.raises(UsageError, match=named):
            refused()
    assert {run.id for run in ledger.runs(limit=10_000)} == before


REACHES_THE_WORKER = [
    option for option, (_, plain) in table().items() if plain == "refused" and option != "group_index"
]


@pytest.mark.parametrize("option", REACHES_THE_WORKER)
def test_a_plain_client_is_refused_by_name(plain: Celery, project: Project, option: str) -> None:
    value = ASKS[option]
    options = {option: value} if option != "stamped_headers" else {option: value, "tenant": "acme"}
    sent = plain.send_task("add", **options)
    document = project.wait_for_state(sent.id, "FAILURE")
    assert (document["reason"], document["attempts"]) == ("invalid_params", 0)
    assert re.search(rf"\b{option}\b", document["error"]["message"])
    with pytest.raises(Exception, match=option):
        sent.get(timeout=30)


def test_a_plain_client_is_refused_a_priority_that_there_is_not(plain: Celery, project: Project) -> None:
    for priority in (20, -1):
        sent = plain.send_task("add", priority=priority)
        refused = project.wait_for_state(sent.id, "FAILURE")["error"]["message"]
        assert f"priority: {priority} is out of range, write 0 to 9" in refused


def test_a_plain_client_is_obeyed(plain: Celery, project: Project) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    for options in ({"countdown": 3600}, {"eta": later}, {"eta": later.replace(tzinfo=None)}):
        sent = plain.send_task("add", expires=7200, priority=7, **options)
        document = project.wait_for_state(sent.id, "PENDING")
        assert document["priority"] == 7
        assert abs(datetime.fromisoformat(document["eta"]) - later) < timedelta(minutes=5)
        assert abs(datetime.fromisoformat(document["expires_at"]) - later - timedelta(hours=1)) < timedelta(minutes=5)
        project.cli("revoke", sent.id).check()
    sent = plain.send_task("add", expires=datetime.now(UTC) - timedelta(hours=1))
    assert project.wait_for_state(sent.id, "REVOKED")["reason"] == "expired"
    sent = plain.send_task("add", ignore_result=True, task_id=f"Mine.{uuid.uuid4().hex}:1")
    document = project.wait_for_state(sent.id, "SUCCESS")
    assert (document["id"], document["result"]) == (sent.id, None)
    sent = plain.send_task(
        "add", headers=NEUTRAL["headers"], retry=True, retry_policy={"max_retries": 1}, serializer="json"
    )
    assert sent.get(timeout=30) == 11


def test_a_plain_clients_message_for_another_queue_is_named_by_the_doctor(
    make_project: Callable[..., Project], plain: Celery
) -> None:
    queue = f"q{uuid.uuid4().hex[:8]}"
    project = make_project({"add": {**JOBS["add"], "queue": queue}}, {"options_work.py": WORK})
    plain.send_task("add", queue=queue, priority=6)
    plain.send_task("add", queue=queue)
    document = project.cli("doctor", "--json").json
    [finding] = [check for check in document["checks"] if check["name"] == "plain-queues"]
    assert queue in finding["what"]
    assert "2 messages" in finding["what"]


def celery_program(project: Project, *words: str) -> Result:
    return celery_cli(*words, cwd=project.path)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["call", "nope"], 2, "no job is named 'nope'"),
        (["call", "add", "--kwargs", '{"a": "x"}'], 2, "a: "),
        (["call", "add", "--kwargs", '{"a": NaN}'], 2, "nan"),
        (["call", "add", "--args", "[1]"], 2, "keyword arguments only"),
        (["call", "add", "--exchange", "x"], 2, "exchange"),
        (["call", "add", "--queue", "a b"], 2, "queue"),
        (["result", "x;id"], 2, "is not an id"),
        (["result", "never-submitted"], 4, "no run never-submitted"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_celerys_program_shows_errors_as_the_runner_does(
    project: Project, words: list[str], code: int, told: str
) -> None:
    done = celery_program(project, *words)
    assert (done.exit_code, "Traceback" in done.stderr) == (code, False), done.stderr
    assert done.stderr.startswith("error: ")
    assert told in done.stderr


@pytest.mark.parametrize("settings", [None, "redis_url: [", "redis_url: env:NO_SUCH_VARIABLE"])
def test_celerys_program_shows_what_is_wrong_with_the_project(tmp_path: Path, settings: str | None) -> None:
    (tmp_path / "jobs.d").mkdir()
    if settings is None:
        (tmp_path / "jobs.d").rmdir()
    else:
        (tmp_path / "runner.yaml").write_text(settings, encoding="utf-8")
    done = celery_program(Project(tmp_path, "", ""), "call", "job")
    assert (done.exit_code, "Traceback" in done.stderr) == (2, False), done.stderr
    assert done.stderr.startswith("error: ")


def test_celerys_program_revokes(project: Project, app: RunnerApp) -> None:
    sent = app.send_task("add", countdown=3600)
    done = celery_program(project, "control", "revoke", sent.id)
    assert done.exit_code == 0, done.stderr
    assert sent.state == "REVOKED"
    done = celery_program(project, "control", "revoke", "never-submitted")
    assert (done.exit_code, "Traceback" in done.stderr) == (69, False)
    assert "no run never-submitted" in done.stderr


def test_a_client_knows_jobs_that_were_added_and_changed_since(make_project: Callable[..., Project]) -> None:
    project = make_project({"first": JOBS["add"]}, {"options_work.py": WORK})
    app = create_app(project.settings, project.catalog)
    runner.submit("first", project=project.path)
    with pytest.raises(UnknownJob):
        app.send_task("second")
    with pytest.raises(UnknownJob):
        runner.submit("second", project=project.path)
    project.write({"jobs.d/more.yaml": "jobs: {second: {task: options_work:add}}\n"})
    assert runner.submit("second", project=project.path).document()["job"] == "second"
    assert app.send_task("second").id
    assert app.tasks["second"].apply_async().id
    changed = "jobs: {second: {task: options_work:add, params: {b: {}}}}\n"
    project.write({"jobs.d/more.yaml": changed})

    def is_seen(submit: Callable[[], Any]) -> bool:
        try:
            submit()
        except RunnerError:
            return False
        return True

    wait_until(lambda: is_seen(lambda: app.send_task("second", kwargs={"b": 1})), 20.0, "the app sees the change")
    wait_until(
        lambda: is_seen(lambda: runner.submit("second", {"b": 1}, project=project.path)), 20.0, "so does the API"
    )


def test_what_may_have_been_recorded_is_named(make_project: Callable[..., Project]) -> None:
    project = make_project({"job": JOBS["add"]}, {"options_work.py": WORK})
    gone = write_project(project.path.parent / "gone", "redis://127.0.0.1:1/0", {"job": JOBS["add"]})
    app = create_app(gone.settings, gone.catalog)
    for submit in (lambda: app.send_task("job"), lambda: runner.submit("job", project=gone.path)):
        with pytest.raises(Unavailable) as unavailable:
            submit()
        assert unavailable.value.run_id is not None
        assert unavailable.value.run_id in str(unavailable.value)
