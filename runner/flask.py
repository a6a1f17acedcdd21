"""An extension for Flask: the project of an application, run documents as JSON, and ``flask runner``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

import click

try:
    from flask import Blueprint, Flask, current_app
    from flask.typing import ResponseReturnValue
except ImportError as error:
    raise ImportError('runner.flask needs Flask: pip install "celery-runner[flask]"') from error

from runner import api
from runner.api import RunHandle, RunPage
from runner.cli.commands import GROUPS, MEANT
from runner.cli.main import run
from runner.cli.terminal.group import LazyGroup
from runner.errors import RunnerError
from runner.model.http_status import http_status
from runner.model.run_query import RunKeywords
from runner.model.submit_options import SubmitKeywords

NAME = "runner"
"""Of the extension, of its blueprint, and of its group of commands."""


class Runner:
    """The extension. One object serves any number of applications.

    ``RUNNER_PROJECT`` of an application's config is the folder of its project, relative to the application's root path;
    without it, the project is found as on the command line. ``RUNNER_ROUTES``, such as ``/runs``, is the prefix under
    which run documents are served as JSON; without it, they are not.
    """

    def __init__(self, app: Flask | None = None, *, guard: Callable[[], Any] | None = None) -> None:
        """Make the extension, and set it up for an application if there is one.

        Args:
            app: the application; :meth:`init_app` takes it otherwise.
            guard: is called before each request of the routes, as Flask's ``before_request``: what it returns, or
                raises by ``abort``, is the answer instead.
        """
        self._guard = guard
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set it up for an application: the routes, if its config has any, and the commands."""
        app.extensions[NAME] = self
        app.cli.add_command(_Commands(_project_of(app)))
        routes = app.config.get("RUNNER_ROUTES")
        if routes is not None:
            app.register_blueprint(self._blueprint(), url_prefix=routes)

    def submit(self, job: str, params: Mapping[str, Any] | None = None, **options: Unpack[SubmitKeywords]) -> RunHandle:
        """Submit a run of a job of the current application's project, as :func:`runner.submit` does."""
        return api.submit(job, params, project=_project_of(current_app), **options)

    def get_run(self, run_id: str) -> RunHandle:
        """Return a run of the current application's project, as :func:`runner.get_run` does."""
        return api.get_run(run_id, project=_project_of(current_app))

    def get_runs(self, *, limit: int = 20, cursor: str | None = None, **filters: Unpack[RunKeywords]) -> RunPage:
        """Return runs of the current application's project, as :func:`runner.get_runs` does."""
        return api.get_runs(limit=limit, cursor=cursor, project=_project_of(current_app), **filters)

    def document(self, run_id: str) -> ResponseReturnValue:
        """Return the answer to a request: the run document, as ``runner status --json`` prints it.

        Raises:
            UnknownRun, UsageError, Unavailable: as :func:`runner.get_run` does; see :func:`error_response`.
        """
        return current_app.json.response(self.get_run(run_id).document())

    def _blueprint(self) -> Blueprint:
        blueprint = Blueprint(NAME, __name__)
        if self._guard is not None:
            blueprint.before_request(self._guard)
        blueprint.register_error_handler(RunnerError, error_response)
        blueprint.add_url_rule("/<run_id>", "run", self.document)
        return blueprint


def error_response(error: RunnerError) -> ResponseReturnValue:
    """Return the answer to a request that raised an error of the runner: the JSON that ``--json`` prints, and a status.

    For your own views: ``app.register_error_handler(RunnerError, error_response)``.
    """
    return current_app.json.response(error.as_dict()), http_status(error)


def _project_of(app: Flask) -> Path | None:
    folder = app.config.get("RUNNER_PROJECT")
    return None if folder is None else Path(app.root_path, folder)


class _Commands(LazyGroup):
    """The commands of ``runner`` under ``flask runner``: with the project of the application, and their exit codes."""

    def __init__(self, project: Path | None) -> None:
        super().__init__(
            NAME,
            groups=GROUPS,
            meant=MEANT,
            example="flask runner submit hello --wait",
            help="Submit and inspect runs, and start workers: all commands of the program runner.",
            add_help_option=False,
        )
        self._project = project

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave all words to the command that they spell."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:
        """Run that command and exit with its code."""
        project = [] if self._project is None else ["--project", str(self._project)]
        sys.exit(run([*project, *ctx.args], program=ctx.command_path))
