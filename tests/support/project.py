"""A project in a temporary folder, and commands that run in it as a user would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.command import CELERY
from tests.support.command import COMMAND as COMMAND
from tests.support.command import clean_environment as clean_environment
from tests.support.deadline import wait_until
from tests.support.running import Running
from tests.support.zygote import Forked, can_fork

if TYPE_CHECKING:
    import redis

    from runner.catalog.catalog import Catalog
    from runner.ledger.ledger import Ledger
    from runner.settings import Settings


@dataclass(frozen=True)
class Result:
    """A finished command."""

    args: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Return its stdout, parsed as JSON."""
        return json.loads(self.stdout)

    @property
    def id(self) -> str:
        """Return the id that ``submit`` wrote to stdout."""
        return self.stdout.split()[0]

    def check(self, exit_code: int = 0) -> Result:
        """Fail unless the command ended with ``exit_code``; return self."""
        assert self.exit_code == exit_code, (
            f"runner {' '.join(self.args)} ended with {self.exit_code}, not {exit_code}\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )
        return self


@dataclass
class Project:
    """The folder of a project, with its own namespace on the server under test."""

    path: Path
    namespace: str
    redis_url: str
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, with paths relative to the project."""
        for name, text in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")

    @property
    def settings(self) -> Settings:
        """Read and return the settings."""
        from runner.settings import load_settings

        return load_settings(self.path, environ={})

    @property
    def catalog(self) -> Catalog:
        """Read and return the catalog."""
        from runner.catalog.catalog import load_catalog

        return load_catalog(self.settings)

    def ledger(self) -> Ledger:
        """Open the ledger; the caller closes it."""
        from runner.delivery.courier import open_ledger

        return open_ledger(self.settings)

    def redis(self) -> redis.Redis:
        """Connect to the server; the caller closes it."""
        from runner.ledger.connection import connect

        return connect(self.settings)

    def cli(
        self,
        *args: str | Path,
        env: Mapping[str, str | None] | None = None,
        timeout: float = 60.0,
        input: str | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run ``runner ARGS`` in the project's folder and wait for its end."""
        return runner_cli(
            *args, cwd=cwd or self.path, env={**self.environment, **(env or {})}, timeout=timeout, input=input
        )

    def start(self, *args: str | Path, env: Mapping[str, str | None] | None = None, cwd: Path | None = None) -> Running:
        """Start ``runner ARGS`` in the background; use it in a ``with``."""
        environment = clean_environment({**self.environment, **(env or {})})
        return Running([*COMMAND, *map(str, args)], cwd=cwd or self.path, env=environment)

    def worker(
        self,
        *args: str,
        concurrency: int | None = 2,
        env: Mapping[str, str | None] | None = None,
        ready: bool = True,
        deadline: float = 40.0,
    ) -> Running:
        """Start a real ``runner worker``; use it in a ``with``. By default, the worker is consuming when this returns.

        Args:
            args: arguments of ``runner worker``, such as ``-Q reports``.
            concurrency: ``-c``; None uses the value in ``runner.yaml``.
            env: environment variables in addition to those of the test.
            ready: wait until the worker consumes.
            deadline: the maximum wait in seconds.
        """
        count = [] if concurrency is None else ["-c", str(concurrency)]
        started = self.start("worker", *count, *args, env=env)
        if ready:
            try:
                started.wait_for("runner worker ready", deadline)
            except BaseException:
                started.__exit__(*sys.exc_info())
                raise
        return started

    def submit(self, job: str, *args: str, **options: Any) -> str:
        """Run ``runner submit JOB`` and return the id."""
        return self.cli("submit", job, *args, **options).check().id

    def document(self, run_id: str) -> dict[str, Any]:
        """Return the run document that ``runner status ID --json`` prints."""
        answer = self.cli("status", run_id, "--json").check().json
        return dict(answer)

    def wait_for_state(self, run_id: str, *states: str, deadline: float = 30.0) -> dict[str, Any]:
        """Return the run document once the run is in one of ``states``; the run may be unknown at first."""
        from runner.errors import UnknownRun

        ledger = self.ledger()
        try:

            def arrived() -> dict[str, Any] | None:
                try:
                    run = ledger.get(run_id)
                except UnknownRun:
                    return None
                return run.document() if run.state in states else None

            return wait_until(arrived, deadline, f"run {run_id} in {' or '.join(states)}")
        finally:
            ledger.close()


def runner_cli(
    *args: str | Path,
    cwd: Path,
    project: Path | None = None,
    env: Mapping[str, str | None] | None = None,
    timeout: float = 60.0,
    input: str | None = None,
) -> Result:
    """Run ``python -m runner ARGS`` and wait for its end; ``project`` becomes ``--project``."""
    return _run(
        [*COMMAND, *(["--project", str(project)] if project else []), *map(str, args)], cwd, env, timeout, input
    )


def celery_cli(*args: str, cwd: Path, env: Mapping[str, str | None] | None = None, timeout: float = 60.0) -> Result:
    """Run ``python -m celery -A runner ARGS`` and wait for its end."""
    return _run([*CELERY, *args], cwd, env, timeout, None)


def _run(
    command: list[str], cwd: Path, env: Mapping[str, str | None] | None, timeout: float, input: str | None
) -> Result:
    environment = clean_environment(env)
    words = command[len(COMMAND) :]
    if can_fork(environment):
        return _forked(command, cwd, environment, timeout, input)
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        input=None if input is None else input.encode(),
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        timeout=timeout,
        check=False,
    )
    return Result(tuple(words), done.returncode, done.stdout.decode(), done.stderr.decode())


def _forked(command: list[str], cwd: Path, env: Mapping[str, str], timeout: float, input: str | None) -> Result:
    words = command[len(COMMAND) :]
    module = command[len(COMMAND) - 1]
    room = "worker" if module == "celery" else ""
    with Path(os.devnull).open("rb") as nothing:
        stdin = nothing.fileno() if input is None else None
        started = Forked(words, cwd=cwd, env=env, stdin=stdin, room=room, module=module)
    try:
        out, err = started.communicate(None if input is None else input.encode(), timeout)
    except BaseException:
        started.kill()
        started.wait()
        raise
    finally:
        started.close()
    return Result(tuple(words), started.wait(), out.decode(), err.decode())


def write_project(
    path: Path,
    redis_url: str,
    jobs: str | Mapping[str, Any] = "",
    files: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    namespace: str | None = None,
) -> Project:
    """Write ``runner.yaml``, ``jobs.d/jobs.yaml``, and more files.

    Args:
        path: the folder, created if necessary.
        redis_url: for ``runner.yaml``.
        jobs: the text of ``jobs.d/jobs.yaml``, or the mapping below its ``jobs:``.
        files: texts by name: Python modules, more job files.
        settings: more settings for ``runner.yaml``.
        namespace: a new one by default.
    """
    namespace = namespace or f"t{uuid.uuid4().hex[:10]}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "jobs.d").mkdir(exist_ok=True)
    project = Project(path, namespace, redis_url)
    everything = {"redis_url": redis_url, "namespace": namespace, "python_path": ["."], **(settings or {})}
    text = jobs if isinstance(jobs, str) else yaml.safe_dump({"jobs": dict(jobs)}, sort_keys=False)
    project.write({"runner.yaml": yaml.safe_dump(everything, sort_keys=False)})
    if text:
        project.write({"jobs.d/jobs.yaml": text})
    project.write(files or {})
    return project
