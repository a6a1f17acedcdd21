"""The Celery app that the project's own code made: what is current while that code runs.

A team that has Celery already writes ``other_task.delay()`` in its functions, and means its own worker. In a worker of
the runner the generated app is the current one, and knows no task but the declared jobs; so it steps aside wherever
code of the project runs: ``setup``, imports, and the jobs themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import _state


@contextmanager
def project_app_current(app: Any) -> Iterator[None]:
    """Make the project's app the current and the default one for the time of the ``with``, if there is one.

    One that comes to be meanwhile, and makes itself the current one as Celery apps do, is the project's from then on.

    Args:
        app: the generated one, which is current again afterwards.
    """
    current, default = _state._tls.current_app, _state.default_app
    if app.project_app is not None:
        _state._set_current_app(app.project_app)
        _state.set_default_app(app.project_app)
    try:
        yield
    finally:
        found = _state._tls.current_app
        if found is not None and found is not app:
            app.project_app = found
        _state._set_current_app(current)
        _state.set_default_app(default)
