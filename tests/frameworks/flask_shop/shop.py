"""A shop on Flask that has Celery already, set up as Flask's guide says: a factory, and tasks in a context."""

import os

from celery import Celery, Task, shared_task
from flask import Flask, current_app, jsonify, request

import runner


def create_app() -> Flask:
    """Make the application, and its Celery app."""
    app = Flask(__name__)
    app.config.from_mapping(
        GREETING="hello",
        CELERY={
            # Another database than the runner's: both take from a list named celery.
            "broker_url": os.environ["SHOP_BROKER_URL"],
            "result_backend": os.environ["SHOP_BROKER_URL"],
            "broker_connection_retry_on_startup": True,
        },
    )
    celery_init_app(app)

    @app.post("/greet/<name>")
    def greet_somebody(name: str):
        run = runner.submit("greet", {"name": name}, key=request.headers.get("Idempotency-Key"))
        return jsonify(id=run.id), 202

    @app.get("/runs/<run_id>")
    def state(run_id: str):
        return jsonify(state=runner.get_run(run_id).state)

    return app


def celery_init_app(app: Flask) -> Celery:
    """Make a Celery app whose tasks run in the application's context."""

    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


@shared_task
def shout(words: str) -> str:
    """Run by the shop's own worker."""
    return f"{words.upper()}, {current_app.config['GREETING']}!"


@shared_task
def greet(name: str) -> dict[str, str]:
    """Run by the runner; hands a part of the work to the shop's own worker."""
    words = f"{current_app.config['GREETING']} {name}"
    return {"words": words, "handed": shout.delay(words).id}
