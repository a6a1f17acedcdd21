"""A PostgreSQL server for tests: in its own folder, with its own user, because it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.processes import end_session
from tests.support.servers import free_port

USER = "shop"


class Postgres:
    """A server that can be stopped and started again, with the same data and port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = next(name for name in ("postgres", "nobody") if _exists(name))
            self._as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
            shutil.chown(folder, user)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def create(self) -> None:
        """Create the data folder."""
        words = [_program("initdb"), "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C", "-N"]
        subprocess.run(words, cwd=self._folder, check=True, capture_output=True, timeout=120, **self._as)

    def start(self) -> None:
        """Start the server; it answers when this returns."""
        words = [_program("postgres"), "-D", self._data, "-p", str(self.port), "-k", ""]
        words += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                words,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as,
            )
        wait_until(self._answers, 60.0, "postgres answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            return bool(self.ask("SELECT 1"))
        except psycopg.OperationalError:
            return False

    def ask(self, words: str) -> list[Any]:
        """Execute and commit a statement; return the first column of its rows."""
        where = f"host=127.0.0.1 port={self.port} user={USER} dbname=postgres application_name=test"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(words)
            return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def stop(self) -> None:
        """Stop the server at once and disconnect its clients, like a restart by an administrator."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_session(process.pid)

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server for the duration of the ``with``."""
    # Not below the folder of the tests, which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    server = Postgres(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    return need(name, *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True))


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
