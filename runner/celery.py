"""``app``: the Celery app generated from this project's jobs.d.

For Celery's own tools: ``celery -A runner worker``, ``inspect``, ``call``, ``result``, and Flower. The
project is found as usual: by ``RUNNER_PROJECT``, or upward from the working folder.
"""

from runner.app.factory import create_app
from runner.catalog.catalog import load_catalog
from runner.cli.terminal.celery_program import reporting
from runner.settings import load_settings

with reporting():
    _settings = load_settings()
    app = create_app(_settings, load_catalog(_settings))
