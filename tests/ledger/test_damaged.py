"""One damaged record hides no other: it is shown as damaged everywhere, harms nobody, and the doctor removes it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

import pytest

import runner
from runner.actions.project import Project as Opened
from runner.actions.rerun import rerun
from runner.actions.submit import submit
from runner.app.factory import create_app
from runner.errors import UsageError
from runner.hooks.fire import fire_hooks
from runner.ledger.health.reconcile import reconcile
from runner.ledger.record import read_record
from runner.ledger.search import search
from runner.ledger.tally import tally
from runner.model.run import FIELDS, State
from runner.model.run_query import RunQuery
from runner.model.submit_options import SubmitOptions
from tests.support.answers import encodable
from tests.support.deadline import wait_until
from tests.support.project import Project

FORGED: dict[str, dict[str, str | bytes]] = {
    "attempts": {"attempts": "zz"},
    "attempts, a fraction of nothing": {"attempts": "nan"},
    "attempts, negative": {"attempts": "-1"},
    "attempts, in hex": {"attempts": "0x10"},
    "retries": {"retries": "1e999"},
    "losses": {"losses": "[]"},
    "priority": {"priority": "12"},
    "priority, text": {"priority": "high"},
    "submitted_at": {"submitted_at": "yesterday"},
    "submitted_at, too late": {"submitted_at": "9999999999999999"},
    "eta": {"eta": "zz"},
    "expires_at": {"expires_at": "soon"},
    "expires_at, infinite": {"expires_at": "inf"},
    "started_at": {"started_at": "-5"},
    "finished_at": {"finished_at": "1e30"},
    "slot": {"slot": "02:00"},
    "retry_at": {"retry_at": "zz"},
    "params, no JSON": {"params": "{"},
    "params, a list": {"params": "[1]"},
    "params, NaN": {"params": '{"n": NaN}'},
    "params, infinite": {"params": '{"n": [1e999]}'},
    "tags": {"tags": "finance"},
    "tags, numbers": {"tags": "[1]"},
    "tags, a mapping": {"tags": '{"a": 1}'},
    "error": {"error": "{"},
    "error, empty": {"error": "{}"},
    "error, no message": {"error": '{"type": "ValueError"}'},
    "error, other types": {"error": '{"type": 1, "message": []}'},
    "deaths": {"deaths": '[{"at": "zz"}]'},
    "deaths, no list": {"deaths": "7"},
    "past": {"past": '[{"attempt": 1}]'},
    "progress": {"progress": '{"fraction": "half"}'},
    "progress, above one": {"progress": '{"fraction": 7, "message": null}'},
    "revocation": {"revocation": '{"at": null}'},
    "state": {"state": "zz"},
    "state, empty": {"state": ""},
    "job": {"job": "\x1b[31m"},
    "queue": {"queue": "a b"},
    "no UTF-8": {"tags": b'["\xff"', "attempts": b"\xff\xfe"},
}
STATES = ("PENDING", "SUCCESS", "FAILURE")
AS_JSON = ("params, infinite", "params, NaN")


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project({"job": {"task": "time:time", "params": {"n": {}}}, "other": {"task": "time:time"}})


@pytest.fixture
def opened(project: Project) -> Iterator[Opened]:
    opened = Opened.open(project.path)
    yield opened
    opened.ledger.close()


def key_of(project: Project, run_id: str) -> str:
    return f"{project.namespace}:run:{run_id}"


def forge(project: Project, opened: Opened, fields: dict[str, str | bytes], state: str = "PENDING") -> str:
    """Make a run, bring it into a state, and write into its record."""
    run_id = submit(opened, "job").id
    client = opened.ledger.client
    if state != "PENDING":
        opened.ledger.revoke(run_id, by=None)
        client.hset(key_of(project, run_id), "state", state)
        for index in ("state", "job:job"):
            client.zrem(f"{project.namespace}:{index}:REVOKED", run_id)
            client.zadd(f"{project.namespace}:{index}:{state}", {run_id: 1_800_000_000_000})
        client.hdel(key_of(project, run_id), "revocation")
    if fields:
        client.hset(key_of(project, run_id), mapping=encodable(fields))
    return run_id


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", FORGED)
def test_a_damaged_record_is_shown_beside_the_others(project: Project, opened: Opened, name: str, state: str) -> None:
    ledger = opened.ledger
    good = [submit(opened, "job").id, submit(opened, "other").id]
    bad = forge(project, opened, FORGED[name], state)
    for found in (
        {run.id: run for run in ledger.runs()},
        {run.id: run for run in ledger.runs(job="job")},
        {run.id: run for run in search(ledger, RunQuery(), limit=10).runs},
        {run.id: run for run in search(ledger, RunQuery(sort="longest"), limit=10).runs},
        {run.id: run for run in ledger.read([good[0], bad, good[1]])},
    ):
        assert set(found) - {good[1]} == {good[0], bad}
        if name == "error" or name.startswith("error,"):
            assert bool(found[bad].damaged) == (state != "SUCCESS")
            continue
        run = found[bad]
        assert run.damaged
        assert next(iter(FORGED[name])) in run.damaged
        assert run.detail == f"its record is damaged: {run.damaged}"
        document = run.document()
        assert list(document) == [*FIELDS, "damaged"]
        json.dumps(document, allow_nan=False)
        assert not found[good[0]].damaged
        assert list(found[good[0]].document()) == list(FIELDS)
    tally(ledger, ["job", "other"], [0, 2_000_000_000_000], 10)
    search(ledger, RunQuery(tag="finance", grep="x", key="k", trigger="cli"), limit=10)
    app = create_app(project.settings, project.catalog)
    assert app.AsyncResult(bad).state in set(State)
    # Nobody waits forever for a run whose state cannot be read.
    if name.startswith("state"):
        assert runner.get_run(bad, project=project.path).wait(5).state == "FAILURE"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", FORGED)
def test_the_doctor_names_and_removes_it(project: Project, opened: Opened, name: str, state: str) -> None:
    ledger = opened.ledger
    if name.startswith("error") and state == "SUCCESS":
        return  # an error says nothing in SUCCESS
    good = [submit(opened, "job").id, submit(opened, "other").id]
    bad = forge(project, opened, FORGED[name], state)
    [found] = [finding for finding in reconcile(ledger) if finding.name == "records"]
    assert (found.count, list(found.examples), found.repairable) == (1, [bad], True)
    assert ledger.read([bad])
    reconcile(ledger, mend=True)
    assert ledger.read([bad]) == []
    assert {run.id for run in ledger.read(good)} == set(good)
    again = {finding.name: finding.count for finding in reconcile(ledger)}
    assert again["records"] == again["strays"] == again["indexes"] == 0


ODD_TEXTS = (
    *("", " ", "0", "1e5", "007", "+3", "-1", "9" * 30, "é", "a\0b", "a-", "x" * 65, "x" * 200, "null", "true", "NaN"),
    *("{}", "[]", "[{}]", "[1]", '["a"]', '["a", null]', "{", " {}", '{"n": 1} x', '{"n": 0x10}', '{"n": 01}'),
    *('{"n": -01}', '{"n": +1}', '{"n": 1.}', '{"n": 1e999}', '{"n": NaN}', '{"n": "a\nb"}', '{"a": "\\ud800"}'),
    *('{"n": ' + "9" * 5000 + "}", '{"a":' * 990 + "1" + "}" * 990, '{"type": "", "message": "x"}'),
    *('{"type": "x", "message": null}', '{"type": "x", "message": "y", "traceback": 5}'),
    '{"type": "x", "message": "y", "traceback": null}',
)


@pytest.mark.parametrize("state", ["PENDING", "SUCCESS"])
def test_the_doctor_names_whatever_is_shown_as_damaged(project: Project, opened: Opened, state: str) -> None:
    """It looks in Redis for records that may be damaged, and must miss none that a reader cannot read."""
    names = sorted({*FIELDS, "past"} - {"id"})
    made = {forge(project, opened, {name: text}, state): (name, text) for name in names for text in ODD_TEXTS}
    metas = [text for text in ODD_TEXTS if text]
    if state == "SUCCESS":
        for text in metas:
            run_id = forge(project, opened, {}, state)
            result = f'{{"status": "SUCCESS", "result": {text}}}'
            opened.ledger.client.set(f"celery-task-meta-{run_id}", result)
            made[run_id] = ("result", result)
    # Some are gone already: more than `retention.runs` ended, and a run without a time of its end counts as an old one.
    shown = {run.id: bool(run.damaged) for run in opened.ledger.read(list(made))}
    damaged = {run_id for run_id, is_damaged in shown.items() if is_damaged}
    assert len(damaged) > 500
    reconcile(opened.ledger, mend=True)
    left = {run.id for run in opened.ledger.read(list(made))}
    assert [made[run_id] for run_id in damaged & left] == []
    assert [made[run_id] for run_id in set(shown) - damaged - left] == []


@pytest.mark.parametrize("kind", ["string", "list"])
def test_a_record_of_another_type(project: Project, opened: Opened, kind: str) -> None:
    good, bad = submit(opened, "job").id, submit(opened, "job").id
    client = opened.ledger.client
    client.delete(key_of(project, bad))
    if kind == "string":
        client.set(key_of(project, bad), "no hash")
    else:
        client.rpush(key_of(project, bad), "no hash")
    assert {run.id: bool(run.damaged) for run in opened.ledger.runs()} == {good: False, bad: True}
    search(opened.ledger, RunQuery(trigger="cli", sort="longest"), limit=10)
    reconcile(opened.ledger, mend=True)
    assert [run.id for run in opened.ledger.runs()] == [good]


@pytest.mark.parametrize("meta", ["zz", "[]", '{"status": "SUCCESS"}', '{"result": NaN}', '{"result": 1e999}'])
def test_a_damaged_result(project: Project, opened: Opened, meta: str) -> None:
    bad = forge(project, opened, {"tags": "[]"}, "SUCCESS")
    opened.ledger.client.set(f"celery-task-meta-{bad}", meta)
    run = opened.ledger.get(bad)
    assert run.damaged
    assert run.result is None
    json.dumps(run.document(), allow_nan=False)
    [found] = [finding for finding in reconcile(opened.ledger) if finding.name == "records"]
    assert list(found.examples) == [bad]


@pytest.mark.parametrize("run_id", ["x;touch PWNED", "a b", "é", "-x"])
def test_a_record_under_what_is_no_id(project: Project, opened: Opened, run_id: str) -> None:
    good = submit(opened, "job").id
    client = opened.ledger.client
    client.copy(key_of(project, good), key_of(project, run_id))
    client.zadd(f"{project.namespace}:state:PENDING", {run_id: 1})
    client.zadd(f"{project.namespace}:ids", {run_id: 0})
    found = {run.id: run.damaged for run in opened.ledger.runs()}
    assert found[good] is None
    assert "id is" in str(found[run_id])
    reconcile(opened.ledger, mend=True)
    assert [run.id for run in opened.ledger.runs()] == [good]


@pytest.mark.parametrize(
    "words", [("runs",), ("runs", "--json"), ("runs", "--jsonl"), ("stats",), ("metrics",), ("queues",)]
)
def test_the_command_line_lists_the_others(project: Project, opened: Opened, words: tuple[str, ...]) -> None:
    good = submit(opened, "other").id
    made = [forge(project, opened, fields, state) for fields in FORGED.values() for state in STATES]
    result = project.cli(*words, *(("--limit", "500") if words[0] == "runs" else ())).check()
    assert "Traceback" not in result.stderr
    if words[0] == "runs":
        assert all(run_id[:8] in result.stdout for run_id in (good, *made))
        assert "damaged" in result.stdout


def test_the_command_line_tells_what_is_damaged_and_removes_it(project: Project, opened: Opened) -> None:
    good, bad = submit(opened, "other").id, forge(project, opened, {"attempts": "zz"})
    assert project.cli("status", bad, "--json").check().json["damaged"] == "attempts is 'zz'"
    assert "attempts is 'zz'" in project.cli("status", bad).check().stdout
    assert "doctor --repair" in project.cli("why", bad).check().stdout
    final = forge(project, opened, {"params": "{"}, "FAILURE")
    refused = project.cli("rerun", final).check(2)
    assert "damaged" in refused.stderr
    with pytest.raises(UsageError, match="damaged"):
        rerun(opened, final)
    result = project.cli("doctor")
    assert bad in result.stdout
    project.cli("doctor", "--repair")
    project.cli("status", bad).check(4)
    project.cli("status", good).check()


def test_the_web_lists_the_others(project: Project, opened: Opened) -> None:
    from tests.web.conftest import serving

    good = submit(opened, "other").id
    made = [forge(project, opened, fields, state) for fields in FORGED.values() for state in STATES]
    with serving(project) as web, web.client() as client:
        listed = client.get("/api/v1/runs?limit=500")
        assert listed.status_code == 200, listed.text
        found = {run["id"]: run.get("damaged") for run in listed.json()["runs"]}
        assert set(found) == {good, *made}
        assert found[good] is None
        for run_id in made:
            for path in (f"/api/v1/runs/{run_id}", f"/api/v1/runs/{run_id}/why", f"/runs/{run_id}"):
                assert client.get(path).status_code == 200, path
        for path in ("/", "/runs", "/jobs", "/jobs/job", "/fleet", "/api/v1/stats", "/api/v1/jobs", "/api/v1/queues"):
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)
        assert "damaged" in client.get("/runs").text


def test_workers_go_on_beside_damaged_records(project: Project, opened: Opened) -> None:
    """Runs that wait, are delayed, and expire are damaged; the others are performed all the same."""
    ledger, client = opened.ledger, opened.ledger.client
    waiting = [forge(project, opened, fields) for fields in FORGED.values()]
    for fields in FORGED.values():
        late = submit(opened, "job", options=SubmitOptions(delay=3600)).id
        expiring = submit(opened, "job", options=SubmitOptions(delay=3600, expires=3600)).id
        for run_id in (late, expiring):
            client.hset(key_of(project, run_id), mapping=encodable(fields))
        client.zadd(f"{project.namespace}:delayed", {late: 0})
        client.zadd(f"{project.namespace}:expiring", {expiring: 0})
    wrong = submit(opened, "job").id
    client.delete(key_of(project, wrong))
    client.set(key_of(project, wrong), "no hash")
    for index in ("prunable", "expiring", "delayed"):
        client.zadd(f"{project.namespace}:{index}", {wrong: 0})
    with project.worker(concurrency=2) as worker:
        good = submit(opened, "other").id
        assert project.wait_for_state(good, "SUCCESS", deadline=60.0)["attempts"] == 1
        again = submit(opened, "other", options=SubmitOptions(delay=0.5)).id
        assert project.wait_for_state(again, "SUCCESS", deadline=60.0)["attempts"] == 1
        assert worker.process.poll() is None
    assert ledger.read(waiting)


NUMBERS = (
    *("retries", "losses", "attempts", "slot", "started_at", "deaths_in_row", "limit", "max_deliveries"),
    *("keep_result", "keep_history", "keep_runs", "keep_least"),
)
ODD_NUMBERS = ("zz", "", "nan", "inf", "-1", "0x10", "1.5", "1e5", " 7", "9" * 30)


def test_runs_with_damaged_numbers_end(make_project: Callable[..., Project]) -> None:
    """Whatever number of a record is damaged, its run is tried, tried again, and ends; so does the one after it."""
    retry = {"max_retries": 1, "delay": "10ms", "jitter": False}
    params = {"s": {"type": "string", "default": "{"}}
    project = make_project({"job": {"task": "json:loads", "params": params, "retry": retry}})
    opened = Opened.open(project.path)
    damages: list[dict[str, str | bytes]] = [{name: text} for name in NUMBERS for text in ODD_NUMBERS]
    made = [forge(project, opened, damage) for damage in damages]
    with project.worker(concurrency=2) as worker:
        wait_until(lambda: all(run.final for run in opened.ledger.read(made)), 90.0, "all end")
        assert project.wait_for_state(submit(opened, "job").id, "FAILURE", deadline=60.0)["attempts"] == 2
        assert worker.process.poll() is None
    opened.ledger.close()


@pytest.mark.parametrize("entry", ["x;touch PWNED success 1", "a b c success 1", "odd", "", " ", "success 1"])
def test_an_odd_entry_of_the_outbox_stops_no_other(make_project: Callable[..., Project], entry: str) -> None:
    hooks = {
        "job": {"task": "time:time", "hooks": {"revoked": ["hook"]}},
        "hook": {"task": "time:time", "params": {"run": {}}},
    }
    opened = Opened.open(make_project(hooks).path)
    run_id = submit(opened, "job").id
    opened.ledger.revoke(run_id, by=None)
    opened.ledger.client.zadd(f"{opened.settings.namespace}:outbox", {entry: 0})
    while fire_hooks(opened.ledger, opened.catalog, by="test"):
        pass
    assert [run.job for run in opened.ledger.runs() if run.hook_of] == ["hook"]
    opened.ledger.close()


def test_damaged_records_of_the_fleet_hide_no_other(project: Project, opened: Opened) -> None:
    client, namespace = opened.ledger.client, project.namespace
    sound = {"host": "a", "pid": "1", "pool": "p", "queues": "q", "concurrency": "1", "started_at": "1", "seen_at": "1"}
    for name, record in {
        "w0@a": sound,
        "w1@a": {"host": "a", "pid": "zz"},
        "w2@a": {"problems": "{"},
        "w3@a": {"host": "a", "pid": "1", "pool": "p", "queues": "q", "concurrency": "1", "started_at": "9" * 30},
        "w4@a": {**sound, "problems": '{"count": 2, "first": []}'},
        "w5@a": {**sound, "problems": '{"count": true, "first": ["x"]}'},
        "w6@a": {**sound, "clock": "9" * 400, "seen_at": "1"},
    }.items():
        client.hset(f"{namespace}:worker:{name}", mapping=encodable(record))
        client.zadd(f"{namespace}:workers", {name: 9_000_000_000_000})
    client.hset(f"{namespace}:metrics", "runs job SUCCESS ", "zz")
    client.xadd(f"{namespace}:audit", {"odd": "1"})
    client.xadd(f"{namespace}:events", {"odd": "1", "attempt": "zz"})
    run_id = submit(opened, "job").id
    for fields in (
        {"a": "zz", "n": "1", "t": "[]"},
        {"a": "1"},
        {"a": "1", "n": "1", "t": "{"},
        {"a": "1", "n": "1", "t": '[[1, null, "x"]]'},
    ):
        client.xadd(f"{namespace}:log:{run_id}", encodable(fields))
    for words in (
        ("workers",),
        ("queues",),
        ("metrics",),
        ("audit",),
        ("submit", "job"),
        ("logs", run_id),
        ("why", run_id),
    ):
        result = project.cli(*words).check()
        assert "Traceback" not in result.stderr
    assert "x" in project.cli("logs", run_id).stdout
    assert project.cli("workers", "--json").json
    assert project.cli("doctor").exit_code == 1


def test_reading_a_record_never_raises() -> None:
    from hypothesis import given
    from hypothesis import strategies as st

    names = st.sampled_from([*FIELDS, "past", "deaths", "message"])
    texts = st.one_of(
        st.text(max_size=20), st.sampled_from(["0", "1e5", "{}", "[]", "[{}]", "null", "NaN", "-1", '{"at": 1}'])
    )

    @given(st.dictionaries(names, texts, max_size=8), st.one_of(st.none(), texts))
    def check(record: dict[str, str], meta: str | None) -> None:
        run = read_record(str(uuid.uuid4()), record, meta)
        json.dumps(run.document(), allow_nan=False)

    check()
