"""The smallest ACL on a real redis-server: it is enough, it is needed, and whatever lacks is named."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from runner.ledger.ledger import Ledger
from runner.ledger.permissions import Missing, Needs, missing_permissions
from runner.settings import load_settings
from tests.support.project import Project, clean_environment, write_project
from tests.support.servers import Server, serving
from tests.support.work import FILES, JOBS

pytestmark = pytest.mark.redis_server

PASSWORD = "secret of the runner"
NAMESPACE = "shop"
ROOT = Path(__file__).parents[2]

Allow = Callable[..., None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving("redis-tcp", tmp_path_factory.mktemp("srv")) as running:
        yield running


@pytest.fixture
def admin(server: Server) -> Iterator[redis.Redis]:
    client = server.client
    client.flushall()
    yield client
    client.acl_deluser("runner")
    client.close()


@pytest.fixture
def allow(admin: redis.Redis) -> Allow:
    """Give the user the smallest set, with more rules behind it."""

    def give(*more: str, replicated: bool = False) -> None:
        rules = Needs.of(NAMESPACE, replicated=replicated).rules().split()
        admin.execute_command("ACL", "SETUSER", "runner", "reset", "on", f">{PASSWORD}", *rules, *more)
        admin.execute_command("ACL", "LOG", "RESET")

    return give


@pytest.fixture
def project(tmp_path: Path, server: Server, allow: Allow) -> Project:
    allow()
    port = re.search(r":(\d+)/", server.url)[1]  # type: ignore[index]
    url = f"redis://runner:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/0"
    hooked = {
        "hooked": {
            "task": "work:echo",
            "kwargs": {"a": 1, "b": 2},
            "hooks": {"success": ["after"]},
            "retention": {"runs": 1},
        },
        "after": {"task": "work:echo", "params": {"run": {"type": "object"}}},
        "one": {"task": "work:echo", "concurrency": {"limit": 1}, "unique": {"for": "1s"}},
        "timed": {"task": "work:echo", "schedule": {"every": "1s"}},
    }
    return write_project(tmp_path / "p", url, {**JOBS, **hooked}, FILES, namespace=NAMESPACE)


def lacking(project: Project, **options: Any) -> Missing:
    ledger = Ledger.open(load_settings(project.path, environ=options))
    try:
        return missing_permissions(ledger)
    finally:
        ledger.close()


def refusals(admin: redis.Redis) -> set[str]:
    """Return the refused commands and keys, without those that a server may refuse."""
    found = {f"{entry['reason']} {entry['object']} ({entry['context']})" for entry in admin.acl_log()}
    asked = {"command config|get (toplevel)", *(f"key {name} (toplevel)" for name in ("default", "default\x06\x163"))}
    return {refusal for refusal in found - asked if not refusal.startswith(("key default", "key reports"))}


def test_it_is_enough(project: Project, admin: redis.Redis) -> None:
    assert lacking(project).rules == ()
    with project.worker("--with-scheduler", concurrency=2):
        project.cli("submit", "hooked", "--wait").check()
        project.cli("submit", "hooked", "--wait", "--key", "k").check()
        for _ in range(3):
            project.cli("submit", "one").check()
        later = project.submit("hooked", "--in", "1h")
        for words in (
            f"revoke {later}",
            f"status {later}",
            f"why {later}",
            f"logs {later}",
            f"rerun {later}",
            f"forget {later}",
            *(
                "pause hooked",
                "submit hooked --force",
                "pause --all",
                "resume --all",
                "resume hooked",
                "tick",
                "upcoming",
            ),
            *("runs", "runs --since 1h --state SUCCESS", "stats", "audit", "workers", "queues", "metrics", "plan"),
            *("doctor --repair", "run hooked", "jobs"),
        ):
            done = project.cli(*words.split())
            assert done.exit_code in (0, 1), done
            assert "ermission" not in done.stderr.replace("user of redis_url may", ""), done
        celery = [sys.executable, "-m", "celery", "-A", "runner", "inspect", "ping"]
        subprocess.run(celery, cwd=project.path, env=clean_environment(), check=True, capture_output=True, timeout=60)
        plain = "import sys; from celery import Celery; a = Celery(broker=sys.argv[1], backend=sys.argv[1]);"
        plain += "print(a.send_task('hooked').get(timeout=30));"
        plain += "assert a.control.broadcast('ping', reply=True, limit=1, timeout=30)"
        sent = [sys.executable, "-c", plain, server_of(admin)]
        subprocess.run(sent, env=clean_environment(), check=True, capture_output=True, timeout=60)
    assert refusals(admin) == set()


def server_of(admin: redis.Redis) -> str:
    options = admin.connection_pool.connection_kwargs
    return f"redis://:{options['password']}@127.0.0.1:{options['port']}/0"


NEEDS = Needs.of(NAMESPACE)


@pytest.mark.parametrize("name", [command[0].lower() for command in NEEDS.commands])
def test_a_command_that_lacks_is_named(project: Project, allow: Allow, name: str) -> None:
    allow(f"-{name}")
    assert f"+{name}" in lacking(project).rules
    assert not any(rule.startswith(("~", "&")) for rule in lacking(project).rules)
    allow(f"-{name}", f"+{name}")
    assert lacking(project).rules == ()


@pytest.mark.parametrize("pattern", [f"~{key}" for key in NEEDS.keys] + [f"&{channel}" for channel in NEEDS.channels])
def test_keys_and_channels_that_lack_are_named(project: Project, admin: redis.Redis, pattern: str) -> None:
    rules = NEEDS.rules().split()
    others = [rule for rule in rules if rule != pattern]
    admin.execute_command("ACL", "SETUSER", "runner", "reset", "on", f">{PASSWORD}", *others)
    assert pattern in lacking(project).rules
    assert not any(rule.startswith("+") for rule in lacking(project).rules)


def test_replicas_need_one_more(project: Project, allow: Allow) -> None:
    assert lacking(project, RUNNER_DURABILITY="replicated").rules == ("+wait",)
    allow(replicated=True)
    assert lacking(project, RUNNER_DURABILITY="replicated").rules == ()


def test_nothing_is_executed(project: Project, admin: redis.Redis) -> None:
    lacking(project)
    assert admin.keys("*") == []


@pytest.mark.parametrize(
    "rules", ["-xadd", "-zrange", "-evalsha -eval", "resetkeys ~shop:*", "resetchannels", "-@all", "-multi", "-info"]
)
def test_a_starting_worker_and_the_doctor_name_what_lacks(project: Project, allow: Allow, rules: str) -> None:
    allow(*rules.split())
    first = {"resetkeys ~shop:*": "~shop", "resetchannels": "&shop:changed:*", "-@all": "+multi"}.get(
        rules, f"+{rules.split()[0][1:]}"
    )
    for words in (["worker", "-c", "1"], ["up"]):
        done = project.cli(*words).check(2)
        assert first in done.stderr, done
        assert "ACL SETUSER" in done.stderr
        assert "Unrecoverable" not in done.stderr
        assert "Traceback" not in done.stderr
    celery = [sys.executable, "-m", "celery", "-A", "runner", "worker", "-c", "1"]
    plain = subprocess.run(
        celery, cwd=project.path, env=clean_environment(), capture_output=True, text=True, timeout=60
    )
    assert plain.returncode != 0
    assert first in plain.stderr + plain.stdout
    doctor = project.cli("doctor", "--json").check(1)
    [found] = [check for check in doctor.json["checks"] if check["name"] == "permissions"]
    assert found["level"] == "problem"
    assert first in found["what"]
    assert first in found["remedy"]


def test_another_command_says_where_to_look(project: Project, allow: Allow) -> None:
    allow("-evalsha", "-eval")
    done = project.cli("submit", "hooked").check(69)
    assert "doctor" in done.stderr


def test_each_command_of_a_script_is_among_them() -> None:
    called = re.compile(r"redis\.p?call\((?:\w+ and )?'([A-Z]+)'(?: or '([A-Z]+)')?")
    scripts = [path.read_text("utf-8") for path in (ROOT / "runner").rglob("*.lua")]
    used = {name for text in scripts for found in called.findall(text) for name in found if name}
    assert {"RPUSH", "LPUSH", "ZADD"} <= used
    assert used <= {name for name, *_ in NEEDS.commands}


def test_the_docs_have_the_rules() -> None:
    text = (ROOT / "docs" / "how-to" / "redis-permissions.md").read_text("utf-8")
    block = re.search(r"```text\n(ACL SETUSER .*?)```", text, re.DOTALL)
    assert block is not None
    words = block[1].replace("\\\n", " ").split()
    assert words[:5] == ["ACL", "SETUSER", "runner", "on", ">PASSWORD"]
    assert words[5:] == Needs.of("runner").rules().split()


def test_the_embedded_server_allows_everything(make_embedded_project: Callable[..., Project]) -> None:
    project = make_embedded_project({"hello": {"task": "os:getpid"}})
    doctor = project.cli("doctor", "--json").json
    assert [check["level"] for check in doctor["checks"] if check["name"] == "permissions"] == ["ok"]
