"""No text from a ledger, a message, a job, or YAML acts on a terminal, whichever command shows it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable

import pytest

from runner.model.printable import printable, printable_json
from tests.support.project import Project

HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\x08\x7f\u202eevil\u2066\u200f\rgone"

MODULE = f"""
import logging
from runner import current_run
HOSTILE = {HOSTILE!r}

def fails(name="x"):
    print(HOSTILE)
    logging.getLogger("own").error("logged %s", HOSTILE)
    logging.addLevelName(35, HOSTILE)
    logging.getLogger("own").log(35, "a level")
    current_run().progress(0.5, HOSTILE)
    raise ValueError(HOSTILE)

def returns(name="x"):
    return {{HOSTILE: HOSTILE}}
"""


def harmless(text: str) -> bool:
    return all(
        character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs" for character in text
    )


@pytest.mark.parametrize("number", [*range(0x100), 0x200B, 0x200F, 0x2028, 0x202E, 0x2066, 0xFEFF, 0xD800, 0xE0001])
def test_each_character(number: int) -> None:
    text = f"a{chr(number)}b"
    assert harmless(printable(text))
    assert printable(printable(text)) == printable(text)
    written = printable_json(json.dumps([text], ensure_ascii=False))
    assert harmless(written)
    assert json.loads(written) == [text]


def test_letters_and_spaces_of_any_script_stay() -> None:
    for text in ("Grüße, 世界\u3000你好", "a\xa0b", "one\n\ttwo", "😀"):
        assert printable(text) == text
        assert printable_json(text) == text


def test_every_command(make_project: Callable[..., Project]) -> None:
    params = {"name": {"type": "string", "default": HOSTILE}}
    jobs = {name: {"task": f"hostile:{name}", "params": params} for name in ("fails", "returns")}
    project = make_project(jobs, {"hostile.py": MODULE})
    with project.worker(concurrency=1) as worker:
        ids = [project.submit(name) for name in jobs]
        for run_id in ids:
            project.wait_for_state(run_id, "SUCCESS", "FAILURE")
        project.cli("pause", "fails", "--comment", HOSTILE).check()
        waiting = project.submit("returns", "--in", "1h")
        project.cli("revoke", waiting, "--comment", HOSTILE).check()
        client = project.redis()
        for key in client.scan_iter(f"{project.namespace}:worker:*"):
            if client.type(key) == "hash":
                client.hset(key, "host", HOSTILE)
        client.close()
        shown = []
        for words in (
            *(("status", run_id) for run_id in (*ids, waiting)),
            *(("wait", run_id) for run_id in (*ids, waiting)),
            *(("why", run_id) for run_id in (*ids, waiting)),
            ("logs", ids[0]),
            ("logs", ids[0], "--raw"),
            ("runs",),
            ("runs", "--csv"),
            ("jobs",),
            ("jobs", "fails"),
            ("stats",),
            ("workers",),
            ("queues",),
            ("audit",),
            ("doctor",),
            ("plan",),
            ("upcoming",),
            ("run", "returns"),
            ("status", "nope" + HOSTILE),
            ("submit", "returns", "-p", f"name{HOSTILE}=1"),
            ("submit", HOSTILE),
            ("resume", "fails"),
        ):
            for more in ((), ("--json",)):
                done = project.cli(*words, *more)
                assert done.exit_code != 70, (words, done.stderr)
                shown.append((words, done.stdout + done.stderr))
        assert [answer for answer in shown if not harmless(answer[1])] == []
        assert any("\\x1b]0;title" in text for _, text in shown)
    assert [line for line in worker.lines() if not harmless(line)] == []
