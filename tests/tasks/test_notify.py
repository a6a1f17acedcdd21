"""Notices for services and chats, against a real HTTP server: pings, Slack, and Teams."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from runner.actions.validate import validate
from runner.tasks import http, notify
from runner.tasks.notice import message_text, title
from tests.support.deadline import wait_until
from tests.support.outside import Site, serving_site
from tests.support.project import Project
from tests.support.work import FILES

RUN: dict[str, Any] = {
    "hook": "failure",
    "id": "5f1c2b1e-0000-4000-8000-000000000001",
    "job": "nightly",
    "state": "FAILURE",
    "reason": "exception",
    "error": {"type": "ValueError", "message": "no <!channel> & [here](http://x/)", "traceback": "…"},
    "params": {"day": "today"},
    "failures_in_row": 3,
    "log": ["looking", "```no such day"],
}
DONE = {"state": "SUCCESS", "reason": None, "error": None, "finished_at": "2026-11-28T12:00:00.000Z"}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_site() as found:
        yield found


@pytest.mark.parametrize(
    ("run", "event", "path"),
    [
        ({"hook": "start", "state": "STARTED"}, "start", "/key/start"),
        ({"hook": "success", **DONE}, "success", "/key"),
        ({"hook": "recovered", **DONE}, "success", "/key"),
        ({}, "failure", "/key/fail"),
        ({"hook": "silent"}, "failure", "/key/fail"),
        ({"hook": "overrun", "state": "STARTED"}, "log", "/key/log"),
        ({"hook": "revoked", "state": "REVOKED"}, "log", "/key/log"),
        ({"hook": None}, "failure", "/key/fail"),
        ({"hook": None, **DONE}, "success", "/key"),
    ],
)
def test_a_ping_says_by_its_path_what_happened(site: Site, run: dict[str, Any], event: str, path: str) -> None:
    assert notify.ping(url=f"{site.url}/key", run={**RUN, **run}) == {"event": event, "status": 200}
    [(method, seen, headers, body)] = site.seen
    assert (method, urlsplit(seen).path, headers["content-type"]) == ("POST", path, "text/plain; charset=utf-8")
    assert parse_qs(urlsplit(seen).query) == {"rid": [RUN["id"]]}
    assert body.decode().startswith(title({**RUN, **run}))
    assert "no such day" in body.decode()


def test_a_start_that_is_late_is_not_sent(site: Site) -> None:
    assert notify.ping(url=site.url, run={**RUN, **DONE, "hook": "start"}) == {"event": "start", "status": None}
    assert site.seen == []


def test_a_ping_may_be_a_query_and_keeps_that_of_the_url(site: Site) -> None:
    suffixes = {"failure": "?state=fail", "success": "/done?x=1"}
    notify.ping(url=f"{site.url}/key/?k=v", run=RUN, suffixes=suffixes, rid=False)
    notify.ping(url=f"{site.url}/key/", run={**RUN, **DONE, "hook": "success"}, suffixes=suffixes)
    notify.ping(url=f"{site.url}/key", run={**RUN, "id": "not a uuid"})
    assert [path for _, path, _, _ in site.seen] == [
        "/key/?k=v&state=fail",
        f"/key/done?x=1&rid={RUN['id']}",
        "/key/fail",
    ]


@pytest.mark.parametrize(("status", "error"), [(503, http.UnexpectedStatusError), (404, http.RefusedError)])
@pytest.mark.parametrize("send", [notify.slack, notify.teams])
def test_an_answer_that_is_no_success_is_an_error(
    site: Site, send: Callable[..., Any], status: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=str(status)):
        send(url=f"{site.url}/status/{status}", run=RUN)
    with pytest.raises(error, match=str(status)):
        notify.ping(url=f"{site.url}/status/{status}", run=RUN, suffixes={"failure": ""})


def test_slack_gets_title_facts_and_lines_and_nothing_in_it_mentions_anybody(site: Site) -> None:
    assert notify.slack(url=f"{site.url}/services/key", run=RUN) == {"status": 200}
    message = json.loads(site.seen[0][3])
    assert message["text"] == "FAILURE: nightly (exception)"
    [attachment] = message["attachments"]
    assert attachment["color"] == "danger"
    shown = json.dumps(attachment)
    assert "<!channel>" not in shown
    assert "no &lt;!channel&gt; &amp; [here]" in shown
    assert "3 in a row" in shown
    log = attachment["blocks"][1]["text"]["text"]
    assert log.startswith("```looking\n")
    assert log.count("```") == 2


def test_teams_gets_an_adaptive_card_without_markdown_of_the_job(site: Site) -> None:
    assert notify.teams(url=f"{site.url}/workflows/key", run={**RUN, **DONE, "hook": "recovered"}) == {"status": 200}
    message = json.loads(site.seen[0][3])
    [attachment] = message["attachments"]
    assert (message["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    heading, *lines = attachment["content"]["body"]
    assert (heading["text"], heading["color"]) == ("RECOVERED: nightly after 3 failures", "Good")
    assert {line["type"] for line in lines} == {"RichTextBlock"}
    assert "looking" in json.dumps(lines)


@pytest.mark.parametrize("send", [notify.slack, notify.teams])
def test_a_long_run_fits_into_what_chats_take(site: Site, send: Callable[..., Any]) -> None:
    long = {**RUN, "error": {"type": "E", "message": "<" * 9000}, "log": ["&" * 5000] * 50, "params": {"x": "y" * 9000}}
    send(url=site.url, run=long)
    assert len(site.seen[0][3]) < 28 * 1024
    blocks = json.loads(site.seen[0][3])["attachments"][0].get("blocks", ())
    texts = [
        element["text"] for block in blocks for element in (*block.get("fields", ()), block.get("text") or {"text": ""})
    ]
    assert all(len(text) <= 3000 for text in texts)


def test_titles_say_which_hook_fired() -> None:
    assert title({**RUN, "hook": "overrun"}) == "OVERRUN: nightly takes longer than its overrun"
    assert title({"hook": "silent", "job": "j", "last_success_at": None}) == "SILENT: j has never succeeded"
    assert title({"hook": "silent", "job": "j", "last_success_at": "T"}) == "SILENT: j has not succeeded since T"
    assert title({**RUN, "hook": "recovered", "failures_in_row": 1}) == "RECOVERED: nightly after 1 failure"
    assert "failures:  3 in a row" in message_text(RUN)
    assert message_text({"hook": "silent", "job": "j", "id": None, "state": None, "params": {}}) == "state:     UNKNOWN"


JOBS = """
jobs:
  wrong:
    task: runner.tasks.notify:ping
    params: {run: {type: object, required: true}}
    kwargs: {url: "ftp://x/", suffixes: {begin: /start, failure: fail}}
  chat:
    task: runner.tasks.notify:slack
    params: {run: {type: object, required: true}}
    kwargs: {url: "mailto:me"}
"""


def test_validate_knows_the_options(tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").touch()
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / "stock.yaml").write_text(JOBS)
    text = " ".join(str(problem) for problem in validate(project=str(tmp_path)).problems)
    assert text.count("not an http or https URL") == 2
    assert "begin is not known, use start, success, failure, log" in text
    assert "'fail' is neither a path nor a query, write /fail or ?state=fail" in text


def test_hooks_of_a_worker_ping_once_each_and_in_order(make_project: Callable[..., Project]) -> None:
    hooks = {name: ["ping"] for name in ("start", "success", "failure")}
    with serving_site() as site:
        jobs = {
            "fine": {"task": "work:writes", "hooks": hooks},
            "wrong": {"task": "work:value_error", "hooks": hooks},
            "slow": {"task": "work:sleep", "kwargs": {"seconds": 300}, "hooks": hooks},
            "ping": {
                "task": "runner.tasks.notify:ping",
                "params": {"run": {"type": "object", "required": True}},
                "secrets": {"CHECK": "env:CHECK_KEY"},
                "kwargs": {"url": f"{site.url}/${{env.CHECK}}"},
                "concurrency": {"limit": 1},
            },
        }
        project = make_project(jobs, FILES, {"worker": {"lease": "2s"}})
        with project.worker(env={"CHECK_KEY": "key-of-the-check"}) as worker:
            slow = project.submit("slow")
            pings = ("runs", "--job", "ping", "--state", "SUCCESS", "--ids")
            # Killed before its outcome is recorded, the ping itself would be repeated.
            wait_until(lambda: project.cli(*pings).check().stdout.strip(), 60.0, "the start is reported")
            assert any(slow in path for _, path, _, _ in site.seen)
            os.kill(worker.pid, signal.SIGKILL)
        with project.worker("-c", "2", env={"CHECK_KEY": "key-of-the-check"}) as worker:
            fine, wrong = project.submit("fine"), project.submit("wrong")

            def pinged(run_id: str) -> list[tuple[str, str]]:
                return [(urlsplit(p).path, body.decode()) for _, p, _, body in list(site.seen) if run_id in p]

            for run_id, path in ((fine, "/key-of-the-check"), (wrong, "/key-of-the-check/fail")):
                wait_until(lambda: pinged(run_id)[-1:] and pinged(run_id)[-1][0] == path, 60.0, path)  # noqa: B023
            assert "key-of-the-check" not in worker.log
            project.cli("revoke", slow, "--terminate").check()
            project.wait_for_state(slow, "REVOKED")
    assert "printed" in pinged(fine)[-1][1]
    assert "ValueError: wrong value" in pinged(wrong)[-1][1]
    assert [path for path, _ in pinged(slow)] == ["/key-of-the-check/start"]
    for run_id in (fine, wrong):
        paths = [path for path, _ in pinged(run_id)]
        assert len(set(paths)) == len(paths)
