"""Stock tasks in a worker: retries by the job's policy, secrets that nobody sees, hooks that send mail."""

from __future__ import annotations

import json
from collections.abc import Callable
from email import message_from_bytes, policy

from tests.support.deadline import wait_until
from tests.support.outside import serving_mail, serving_site
from tests.support.project import Project

TOKEN = "a-token-that-nobody-sees"


def test_retries_secrets_and_a_mail_at_the_end(make_project: Callable[..., Project]) -> None:
    with serving_site() as site, serving_mail() as (box, port):
        retry = {"max_retries": 2, "delay": "10ms", "jitter": False}
        headers = {"Authorization": "Bearer ${env.TOKEN}"}
        jobs = {
            "busy": {"url": f"{site.url}/status/503", "headers": headers},
            "refused": {"url": f"{site.url}/status/404?q=${{env.TOKEN}}", "headers": headers},
        }
        project = make_project(
            {
                **{
                    name: {
                        "task": "runner.tasks.http:request",
                        "kwargs": kwargs,
                        "retry": retry,
                        "secrets": {"TOKEN": "env:SITE_TOKEN"},
                        "hooks": {"failure": ["mail"]},
                    }
                    for name, kwargs in jobs.items()
                },
                "mail": {
                    "task": "runner.tasks.notify:email",
                    "params": {"run": {"type": "object", "required": True}},
                    "kwargs": {"to": ["us@example.com"], "sender": "r@example.com", "host": "127.0.0.1", "port": port},
                },
                "script": {
                    "task": "runner.tasks.python:script",
                    "params": {"word": {"type": "string", "required": True}},
                    "kwargs": {"file": "say.py", "args": ["--", "${params.word}"]},
                },
            },
            {"say.py": "import os, sys\nprint(*sys.argv[1:], os.environ['PARAM_WORD'])\n"},
        )
        assert project.cli("validate").check().stdout == ""
        with project.worker(env={"SITE_TOKEN": TOKEN}) as worker:
            ids = [project.submit("busy"), project.submit("refused")]
            busy, refused = (project.wait_for_state(run_id, "FAILURE", deadline=40.0) for run_id in ids)
            script_id = project.submit("script", "-p", "word=hello; exit")
            assert project.wait_for_state(script_id, "SUCCESS")["result"]["output"] == "-- hello; exit hello; exit\n"
            wait_until(lambda: len(box.letters) == 2, 40.0, "both mails are there")
            assert TOKEN not in worker.log
    assert (busy["attempts"], busy["error"]["type"]) == (3, "runner.tasks.http.UnexpectedStatusError")
    assert (refused["attempts"], refused["error"]["type"]) == (1, "runner.tasks.http.RefusedError")
    assert [headers["authorization"] for *_, headers, _ in site.seen] == [f"Bearer {TOKEN}"] * 4
    assert TOKEN not in json.dumps([busy, refused])
    letters = [message_from_bytes(letter.original_content, policy=policy.default) for letter in box.letters]
    assert {letter["Subject"] for letter in letters} == {"FAILURE: busy (exception)", "FAILURE: refused (exception)"}
    assert all(f"runner why {run_id}" in str(letters[0]) + str(letters[1]) for run_id in ids)
