"""Make the project's own Celery app current while code of the project runs.

A team with Celery writes ``other_task.delay()`` in its functions, and means its own worker. In a worker of the runner,
the generated app is current and knows only the declared jobs. So the project's app is made current while code of the
project runs: ``setup``, imports, and the jobs.
"""

from __future__ import annotations

from typing import Any

from celery import _state


class project_app_current:  # noqa: N801 - it is used as a function
    """Make the project's app, if there is one, the current and default one in the block.

    An app that is created in the block, and makes itself current as Celery apps do, is the project's app from then on.

    Args:
        app: the generated app, which is current again afterwards.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    def __enter__(self) -> None:
        app = self._app
        self._current, self._default = _state._tls.current_app, _state.default_app
        if app.project_app is not None:
            _state._set_current_app(app.project_app)
            _state.set_default_app(app.project_app)

    def __exit__(self, *error: object) -> None:
        found = _state._tls.current_app
        if found is not None and found is not self._app:
            self._app.project_app = found
        _state._set_current_app(self._current)
        _state.set_default_app(self._default)
