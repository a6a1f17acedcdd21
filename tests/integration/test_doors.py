"""Every way in, with every bad input: each is refused with a typed error, or recorded as a refused run, by all of them.

The doors are the command line, the Python API, the REST API, the form, hooks, schedules, reruns, the generated Celery
app, and messages of plain Celery clients.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from celery import Celery

import runner
from runner.actions.project import Project as Opened
from runner.actions.rerun import rerun
from runner.actions.submit import submit
from runner.actions.tick import Engine
from runner.app.factory import RunnerApp, create_app
from runner.errors import RunnerError
from runner.hooks.fire import fire_hooks
from runner.ledger.ledger import Ledger
from runner.model.submit_options import SubmitOptions
from tests.support.deadline import wait_until
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import Server
from tests.web.conftest import serving

NAN, INFINITY = float("nan"), float("inf")
KIB_70 = "x" * 70 * 1024
DEEP: Any = []
for _ in range(70):
    DEEP = [DEEP]

JOB = {
    "task": "doors_work:take",
    "params": {
        "n": {"type": "number", "minimum": 0, "maximum": 10, "default": 1},
        "any": {},
        "rows": {"type": "array", "items": {"type": "object"}},
    },
}
HOOK = {"task": "doors_work:take", "params": {"run": {}, "n": {"type": "number", "minimum": 0, "maximum": 10}}}
JOBS: dict[str, Any] = {
    "job": JOB,
    "off": {**JOB, "enabled": False},
    "needs": {**JOB, "params": {"a": {"required": True}}},
}

PARAMS: dict[str, tuple[dict[Any, Any], str]] = {
    "nan": ({"n": NAN}, "nan"),
    "infinite": ({"n": INFINITY}, "inf"),
    "nan in a list": ({"any": [1, [NAN]]}, "nan"),
    "nan in a mapping": ({"any": {"a": {"b": NAN}}}, "nan"),
    "infinite, where jsonschema checks": ({"rows": [{"x": -INFINITY}]}, "inf"),
    "above the maximum": ({"n": 11}, "maximum"),
    "another type": ({"n": "1"}, "n: "),
    "undeclared": ({"m": 1}, "not declared"),
    "too large": ({"any": KIB_70}, "64KiB"),
    "too large together": ({"any": [KIB_70[:40_000], KIB_70[:40_000]]}, "64KiB"),
    "too deep": ({"any": DEEP}, "nested"),
}
"""Params that no door takes, and what each says of them."""

ODD_PARAMS: dict[str, tuple[dict[Any, Any], str]] = {
    "keys that are not text": ({"any": {1: "a", "1": "b"}}, "key"),
    "not JSON": ({"any": {1, 2}}, "JSON"),
    "half a character": ({"any": "\ud800"}, "JSON|surrogate"),
    "a name that is not text": ({3: 1}, "not declared"),
}
"""What only a program in this process can give."""

IDS = [
    "x;touch ${PWD}/PWNED;echo ",
    "a b\n",
    "abc\n",
    "-x",
    ".x",
    "../../x",
    "a/b",
    "x" * 129,
    "ü",
    "a\0b",
    " ",
    "$(id)",
]

OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "priority above 9": ({"priority": 20}, "priority: 20 is out of range, write 0 to 9"),
    "negative priority": ({"priority": -1}, "priority: -1 is out of range"),
    "priority of another type": ({"priority": 5.0}, "priority: expected a whole number"),
    "priority true": ({"priority": True}, "priority: expected a whole number"),
    "queue with a space": ({"queue": "a b"}, "queue"),
    "queue with a line break": ({"queue": "reports\n"}, "queue"),
    "queue with a colon": ({"queue": "a:b"}, "queue"),
    "queue too long": ({"queue": "q" * 65}, "queue"),
    "expires never": ({"expires": 0}, "expires: 0s is too short, write 1ms or more"),
    "expires is nan": ({"expires": NAN}, "expires: nan is not a number of seconds"),
    "expires too late": ({"expires": 1e13}, "ten years"),
    "expires of another type": ({"expires": [1]}, "expires"),
    "start is nan": ({"delay": NAN}, "delay: nan is not a number of seconds"),
    "expires is a huge integer": ({"expires": 10**400}, "expires"),
    "start is a huge integer": ({"delay": 10**400}, "delay: is longer than ten years"),
    "start is infinite": ({"delay": INFINITY}, "delay: is longer than ten years"),
    "start too late": ({"delay": 1e12}, "delay: is longer than ten years"),
    "start of another type": ({"delay": "soon"}, "delay"),
}
"""Options that no door takes, as the Python API has them."""

KEYS = {"empty": "", "line break": "a\nb", "escape": "a\x1b[31m", "too long": "k" * 257, "NUL": "a\0", "number": 7}


@dataclass
class House:
    """A project with everything open that leads into it."""

    project: Project
    opened: Opened
    app: RunnerApp
    web: httpx.Client
    plain: Celery
    worker: Running

    @property
    def ledger(self) -> Ledger:
        return self.opened.ledger

    def ids(self) -> set[str]:
        return {run.id for run in self.ledger.runs(limit=10_000)}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, redis_server: Server) -> Iterator[House]:
    module = "def take(**given):\n    return sorted(given)\n"
    project = write_project(tmp_path_factory.mktemp("doors") / "p", redis_server.url, JOBS, {"doors_work.py": module})
    plain = Celery("stranger", broker=redis_server.celery_url, backend=redis_server.celery_url, set_as_current=False)
    plain.conf.broker_connection_retry_on_startup = False
    opened = Opened.open(project.path)
    with project.worker(concurrency=1) as worker, serving(project) as web, web.client() as client:
        app = create_app(project.settings, project.catalog)
        yield House(project, opened, app, client, plain, worker)
        assert worker.process.poll() is None
    plain.close()


Door = Callable[[House, dict[Any, Any]], Any]


def by_action(house: House, params: dict[Any, Any]) -> Any:
    return submit(house.opened, "job", params)


def by_python(house: House, params: dict[Any, Any]) -> Any:
    return runner.submit("job", params, project=house.project.path)


def by_send_task(house: House, params: dict[Any, Any]) -> Any:
    return house.app.send_task("job", kwargs=params)


def by_apply_async(house: House, params: dict[Any, Any]) -> Any:
    return house.app.tasks["job"].apply_async(kwargs=params)


def by_signature(house: House, params: dict[Any, Any]) -> Any:
    return house.app.signature("job", kwargs=params).apply_async()


def by_delay(house: House, params: dict[Any, Any]) -> Any:
    return house.app.tasks["job"].delay(**params)


def by_apply(house: House, params: dict[Any, Any]) -> Any:
    return house.app.tasks["job"].apply(kwargs=params)


IN_PROCESS: list[Door] = [by_action, by_python, by_send_task, by_apply_async, by_signature, by_apply]


@pytest.mark.parametrize("name", [*PARAMS, *ODD_PARAMS])
@pytest.mark.parametrize("door", IN_PROCESS, ids=lambda door: door.__name__)
def test_bad_params_are_refused_in_this_process(house: House, door: Door, name: str) -> None:
    params, message = {**PARAMS, **ODD_PARAMS}[name]
    before = house.ids()
    with pytest.raises(RunnerError, match=message) as refused:
        door(house, params)
    assert refused.value.code == "invalid_params"
    assert house.ids() == before


def test_bad_params_are_refused_by_delay(house: House) -> None:
    with pytest.raises(RunnerError, match="nan"):
        by_delay(house, {"n": NAN})


@pytest.mark.parametrize("name", PARAMS)
def test_bad_params_are_refused_by_the_rest_api(house: House, name: str) -> None:
    params, _ = PARAMS[name]
    before = house.ids()
    body = json.dumps({"params": params})
    answer = house.web.post("/api/v1/jobs/job/runs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (413, 422), answer.text
    assert answer.json()["error"]["exit_code"] in (2, 70)
    assert house.ids() == before


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"priority": 20}, None),
        ({"priority": -1}, None),
        ({"priority": True}, None),
        ({"priority": "5"}, None),
        ({"priority": 5.5}, None),
        ({"queue": "a b"}, None),
        ({"queue": "reports\n"}, None),
        ({"queue": ""}, None),
        ({"expires": "0s"}, None),
        ({"expires": "100000d"}, None),
        ({"delay": "-1s"}, None),
        ({"delay": "100000d"}, None),
        ({"delay": "1s", "at": "2099-01-01"}, None),
        ({"run_id": "x"}, None),
        ({"link": []}, None),
        ({}, "k" * 257),
        ({}, "a\tb"),
    ],
    ids=str,
)
def test_bad_options_are_refused_by_the_rest_api(house: House, options: dict[str, Any], key: str | None) -> None:
    before = house.ids()
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = house.web.post("/api/v1/jobs/job/runs", json=options, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["exit_code"] == 2
    assert house.ids() == before


@pytest.mark.parametrize(
    ("field", "text"), [("n", ".nan"), ("n", "1e999"), ("n", "11"), ("any", KIB_70), ("any", "[.inf]")]
)
def test_bad_params_are_refused_by_the_form(house: House, field: str, text: str) -> None:
    page = house.web.get("/jobs/job").text
    token = page.partition('name="csrf" value="')[2].partition('"')[0]
    before = house.ids()
    answer = house.web.post("/jobs/job/submit", data={"csrf": token, f"param-{field}": text}, follow_redirects=False)
    if text == "[.inf]":
        # A param without a type accepts text that is not a YAML value.
        assert answer.status_code == 303
        return
    assert answer.status_code in (413, 422), answer.text
    assert house.ids() == before


@pytest.mark.parametrize(
    "words",
    [
        ["--params", '{"n": NaN}'],
        ["--params", '{"n": 1e999}'],
        ["--params", '{"any": [-Infinity]}'],
        ["-p", "n=.nan"],
        ["-p", "n=11"],
        ["--params", json.dumps({"any": KIB_70})],
        ["--key", "a\nb"],
        ["--queue", "a b"],
        ["--queue", "reports\n"],
        ["--priority", "20"],
        ["--in", "200000000000s"],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_bad_input_is_refused_by_the_command_line(house: House, words: list[str]) -> None:
    before = house.ids()
    for verb in ("submit", "run") if words[0] in ("-p", "--params") else ("submit",):
        result = house.project.cli(verb, "job", *words)
        assert (result.exit_code, house.ids()) == (2, before), result.stderr
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("name", PARAMS)
def test_bad_params_of_a_plain_client_are_recorded_as_refused(house: House, name: str) -> None:
    params, message = PARAMS[name]
    sent = house.plain.send_task("job", kwargs=params)
    document = house.project.wait_for_state(sent.id, "FAILURE")
    assert (document["reason"], document["attempts"], document["params"]) == ("invalid_params", 0, {})
    assert message in document["error"]["message"]
    with pytest.raises(Exception, match=message):
        sent.get(timeout=30)


@pytest.mark.parametrize("job", ["off", "needs"])
def test_a_plain_client_is_told_why_a_job_takes_nothing(house: House, job: str) -> None:
    document = house.project.wait_for_state(house.plain.send_task(job).id, "FAILURE")
    assert (document["reason"], document["attempts"]) == ("invalid_params", 0)


@pytest.mark.parametrize("name", PARAMS)
def test_a_rerun_does_not_repeat_bad_params(house: House, name: str) -> None:
    origin = house.ledger.get(submit(house.opened, "job").id)
    wait_until(lambda: house.ledger.get(origin.id).final, 30.0, "it ends")
    key = f"{house.project.namespace}:run:{origin.id}"
    house.ledger.client.hset(key, "params", json.dumps(PARAMS[name][0]))
    before = house.ids()
    with pytest.raises(RunnerError):
        rerun(house.opened, origin.id)
    assert house.ids() == before
    house.ledger.client.hset(key, "params", "{}")


@pytest.mark.parametrize(
    ("params", "given"),
    [
        # Sound today, and wrong in the year 2096.
        ({"a": {"type": "integer", "maximum": 2090}}, {"a": "${run.slot.year}"}),
        ({"a": {"type": "string", "default": KIB_70}}, {}),
    ],
    ids=["given", "default"],
)
def test_a_schedule_records_what_it_cannot_submit(
    make_project: Callable[..., Project], params: dict[str, Any], given: dict[str, Any]
) -> None:
    job = {"task": "doors_work:take", "params": params, "schedule": {"every": "1m", "params": given}}
    project = make_project({"scheduled": job})
    opened, at = Opened.open(project.path), [4_000_000_000_000]
    engine = Engine(opened, clock=lambda: at[0])
    engine.tick()
    at[0] += 61_000
    [(_, _, run_id)] = engine.tick().submitted
    run = opened.ledger.get(run_id)
    assert (run.state, run.reason, run.attempts) == ("FAILURE", "invalid_params", 0)
    assert run.params == {}
    assert run.error is not None
    assert run.error["type"] == "runner.errors.InvalidParams"


def test_a_hook_is_not_fired_with_what_its_job_does_not_take(make_project: Callable[..., Project]) -> None:
    jobs = {
        "job": {"task": "doors_work:take", "hooks": {"revoked": ["strict", "off", "fine"]}},
        "strict": {"task": "doors_work:take", "params": {"run": {"type": "object", "maxProperties": 1}}},
        "off": {"task": "doors_work:take", "params": {"run": {}}, "enabled": False},
        "fine": {"task": "doors_work:take", "params": {"run": {}}},
    }
    project = make_project(jobs)
    opened = Opened.open(project.path)
    run_id = submit(opened, "job").id
    opened.ledger.revoke(run_id, by=None)
    assert fire_hooks(opened.ledger, opened.catalog, by="test") == 1
    assert {run.job for run in opened.ledger.runs() if run.hook_of == run_id} == {"fine"}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused_in_this_process(house: House, name: str) -> None:
    options, message = OPTIONS[name]
    before = house.ids()
    with pytest.raises(RunnerError, match=message) as refused:
        runner.submit("job", project=house.project.path, **options)
    assert refused.value.exit_code == 2
    celery = {"countdown" if option == "delay" else option: value for option, value in options.items()}
    for call in (house.app.send_task, lambda _, **given: house.app.tasks["job"].apply_async(**given)):
        with pytest.raises(RunnerError) as refused:
            call("job", **celery)
        assert refused.value.exit_code == 2
    assert house.ids() == before


@pytest.mark.parametrize("name", KEYS)
def test_bad_keys_are_refused(house: House, name: str) -> None:
    before = house.ids()
    with pytest.raises(RunnerError, match="key"):
        runner.submit("job", key=KEYS[name], project=house.project.path)  # type: ignore[arg-type]
    assert house.ids() == before


@pytest.mark.parametrize("run_id", IDS, ids=repr)
def test_what_is_no_id_is_refused_wherever_one_is_given(house: House, run_id: str) -> None:
    before = house.ids()
    calls: list[Callable[[], Any]] = [
        lambda: submit(house.opened, "job", run_id=run_id),
        lambda: house.app.send_task("job", task_id=run_id),
        lambda: house.app.tasks["job"].apply_async(task_id=run_id),
        lambda: house.app.tasks["job"].apply(task_id=run_id),
        lambda: house.app.send_task("job", root_id=run_id),
        lambda: house.app.send_task("job", parent_id=run_id),
        lambda: house.app.AsyncResult(run_id),
        lambda: house.app.control.revoke(run_id),
        lambda: house.app.control.revoke([run_id]),
        lambda: runner.get_run(run_id, project=house.project.path),
        lambda: rerun(house.opened, run_id),
    ]
    for call in calls:
        with pytest.raises(RunnerError, match="is not an id"):
            call()
    assert house.ids() == before


@pytest.mark.parametrize("run_id", ["x;id", "a b", "-x;"], ids=repr)
def test_what_is_no_id_is_refused_by_command_line_and_rest_api(house: House, run_id: str) -> None:
    for verb in (["status"], ["why"], ["logs"], ["revoke"], ["forget"], ["rerun"], ["wait"]):
        result = house.project.cli(*verb, "--", run_id)
        assert result.exit_code == 2, result.stderr
        assert "is not an id" in result.stderr
    for path in ("", "/why", "/log"):
        answer = house.web.get(f"/api/v1/runs/{run_id}{path}")
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("run_id", [run_id for run_id in IDS if "\0" not in run_id], ids=repr)
def test_a_message_with_what_is_no_id_is_no_run(house: House, run_id: str) -> None:
    before = house.ids()
    dead = f"{house.project.namespace}:dead-letters"
    count = int(house.ledger.client.llen(dead))
    house.plain.send_task("job", task_id=run_id)
    wait_until(lambda: int(house.ledger.client.llen(dead)) > count, 30.0, "the message is put aside")
    assert house.ids() == before
    assert not house.ledger.client.exists(f"celery-task-meta-{run_id}")


@pytest.mark.parametrize("header", ["root_id", "parent_id"])
def test_the_ids_of_a_clients_own_tasks_say_nothing_about_the_run(house: House, header: str) -> None:
    sent = house.plain.send_task("job", **{header: "x;touch PWNED"})
    assert house.project.wait_for_state(sent.id, "SUCCESS")["attempts"] == 1


def test_the_headers_of_a_message_of_ours_change_nothing(make_project: Callable[..., Project]) -> None:
    """Somebody added to our messages what a plain client's would be obeyed or refused for."""
    jobs = {"job": {"task": "doors_work:take", "params": {"n": {"default": 1}}}}
    project = make_project(jobs, {"doors_work.py": "def take(**given):\n    return sorted(given)\n"})
    forged: list[dict[str, Any]] = [
        {"timelimit": [0.001, 0.001]},
        {"timelimit": "x"},
        {"eta": "2999-01-01T00:00:00+00:00"},
        {"eta": 5},
        {"expires": "2001-01-01T00:00:00+00:00"},
        {"expires": -1},
        {"ignore_result": True},
        {"retries": 99},
        {"reply_to": "somewhere"},
        {"group": "g", "group_index": 3},
        {"stamped_headers": ["tenant"], "stamps": {"tenant": ["a"]}},
        {"shadow": "other", "origin": 5, "compression": "gzip"},
        {"root_id": "x;touch PWNED", "parent_id": [1]},
        {"asked": {"priority": 20, "link": [1]}},
        {"runner": None},
        {"priority": 20, "queue": "a b", "headers": {"x": 1}},
    ]
    opened = Opened.open(project.path)
    client, key = opened.ledger.client, f"{project.namespace}:queue:default:5"
    made = []
    for headers in forged:
        made.append(submit(opened, "job").id)
        message = json.loads(str(client.lpop(key)))
        message["headers"] |= headers
        message["properties"] |= {"priority": 20, "reply_to": "somewhere", "expiration": "1"}
        client.rpush(key, json.dumps(message))
    with project.worker(concurrency=2):
        for run_id, headers in zip(made, forged, strict=True):
            document = project.wait_for_state(run_id, "SUCCESS")
            assert (document["attempts"], document["retries"], document["priority"]) == (1, 0, 5), headers
            assert (document["result"], document["eta"], document["expires_at"]) == (["n"], None, None), headers
    assert {run.id for run in opened.ledger.runs()} == set(made)
    opened.ledger.close()


@pytest.mark.parametrize(
    ("header", "told"), [({"expires": 10**400}, "expires"), ({"timelimit": [1, 2, 3]}, "time_limit")]
)
def test_a_forged_option_of_a_plain_message_is_refused(house: House, header: dict[str, Any], told: str) -> None:
    body = base64.b64encode(b"[[], {}, {}]").decode()
    run_id = str(uuid.uuid4())
    message = {
        "headers": {"id": run_id, "task": "job", "lang": "py", **header},
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "properties": {"body_encoding": "base64", "delivery_info": {}},
    }
    house.ledger.client.lpush("celery", json.dumps(message))
    document = house.project.wait_for_state(run_id, "FAILURE")
    assert document["reason"] == "invalid_params"
    assert told in document["error"]["message"]


def test_forged_params_in_the_ledger_do_not_start(house: House) -> None:
    submitted = submit(house.opened, "job", options=SubmitOptions(delay=3600))
    key = f"{house.project.namespace}:run:{submitted.id}"
    house.ledger.client.hset(key, "params", '{"n": NaN}')
    house.ledger.client.zadd(f"{house.project.namespace}:delayed", {submitted.id: 0})
    wait_until(lambda: house.ledger.client.hget(key, "state") == "FAILURE", 30.0, "it is refused")
    assert house.ledger.client.hget(key, "reason") == "invalid_params"
    house.ledger.client.hset(key, "params", "{}")


@pytest.mark.parametrize(
    "declared",
    [
        {"kwargs": {"x": ".nan"}},
        {"kwargs": {"x": [{"y": "-.inf"}]}},
        {"kwargs": {"x": "1e999"}},
        {"args": [".inf"]},
        {"params": {"n": {"default": ".nan"}}},
        {"params": {"n": {"type": "number", "default": "1e400"}}},
        {"params": {"n": {"enum": [1, ".inf"]}}},
        {"params": {"n": {"maximum": ".inf"}}},
        {"params": {"n": {"const": "-1e999"}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["job", "defaults"])
def test_numbers_that_json_lacks_are_refused_in_yaml(
    make_project: Callable[..., Project], declared: dict[str, Any], where: str
) -> None:
    options = json.dumps(declared).replace('".nan"', ".nan").replace('".inf"', ".inf").replace('"-.inf"', "-.inf")
    for number in ("1e999", "1e400", "-1e999"):
        options = options.replace(f'"{number}"', number)
    if where == "job":
        text = f"jobs:\n  bad:\n    task: doors_work:take\n    <<: {options}\n  good: {{task: doors_work:take}}\n"
    else:
        text = f"defaults: {options}\njobs: {{bad: {{task: doors_work:take}}}}\n"
    result = make_project(text).cli("validate")
    assert result.exit_code == 2, result.stdout
    assert "number" in result.stdout + result.stderr


def test_good_input_passes_every_door(house: House) -> None:
    params = {"n": 10, "any": {"a": [1.5, None, "ü"]}}
    made = [
        by_action(house, params).id,
        by_python(house, params).id,
        by_send_task(house, params).id,
        by_apply_async(house, params).id,
        by_signature(house, params).id,
        by_delay(house, params).id,
        house.plain.send_task("job", kwargs=params).id,
        house.web.post("/api/v1/jobs/job/runs", json={"params": params}).json()["id"],
        house.project.cli("submit", "job", "--params", json.dumps(params)).check().id,
    ]
    for run_id in made:
        document = house.project.wait_for_state(run_id, "SUCCESS", deadline=60.0)
        assert document["params"] == params
    chosen = f"Report.2026-11-23:{uuid.uuid4().hex}_x"
    assert house.app.send_task("job", task_id=chosen, kwargs=params).get(timeout=30) == ["any", "n"]
    assert runner.get_run(chosen, project=house.project.path).id == chosen
    assert by_apply(house, params).get() == ["any", "n"]
