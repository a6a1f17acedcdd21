"""An office on Flask, set up as docs/how-to/flask.md says: a factory, and the extension."""

from flask import Flask, abort, current_app, request

from runner.errors import RunnerError
from runner.flask import Runner, error_response


def only_ours() -> None:
    """Let nobody else see runs."""
    if request.headers.get("Authorization") != "Bearer ours":
        abort(401)


runner = Runner(guard=only_ours)


def create_app() -> Flask:
    """Make the application."""
    app = Flask(__name__)
    app.config.update(RUNNER_PROJECT=".", RUNNER_ROUTES="/runs", GREETING="hello")
    runner.init_app(app)
    app.register_error_handler(RunnerError, error_response)

    @app.post("/greet")
    def greet_somebody():
        run = runner.submit("greet", request.get_json(), key=request.headers.get("Idempotency-Key"))
        return {"id": run.id}, 202

    @app.get("/last")
    def last():
        return {"states": [run.state for run in runner.get_runs(job="greet", limit=1)]}

    @app.get("/own/<run_id>")
    def own(run_id: str):
        return runner.document(run_id)

    return app


def greet(name: str) -> str:
    """Run by the runner, in a context that it opens itself."""
    with create_app().app_context():
        return f"{current_app.config['GREETING']} {name}"
