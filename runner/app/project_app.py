"""The Celery app that the project's own code made: what is current while that code runs.

A team that has Celery already writes ``other_task.delay()`` in its functions, and means its own worker. In a worker of
the runner the generated app is the current one, and knows no task but the declared jobs; so it steps aside wherever
code of the project runs: ``setup``, imports, and the jobs themselves.
"""

from __future__ import annotations

from typing import Any

from celery import _state


class project_app_current:  # noqa: N801 - it is used as a function
    """Make the project's app the current and the default one for the time of the ``with``, if there is one.

    One that comes to be meanwhile, and makes itself the current one as Celery apps do, is the project's from then on.

    Args:
        app: the generated one, which is current again afterwards.
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
