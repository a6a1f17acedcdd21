"""A bank on Flask-SQLAlchemy, whose factory asks the database: the worker's parent has a connection."""

import os
from functools import cache
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text

db = SQLAlchemy()


@cache
def create_app() -> Flask:
    """Make the application."""
    app = Flask(__name__)
    where = f"postgresql+psycopg://shop@127.0.0.1:{os.environ['BANK_PORT']}/postgres"
    app.config["SQLALCHEMY_DATABASE_URI"] = where
    db.init_app(app)
    with app.app_context():
        db.session.execute(text("SET application_name = 'parent'"))
        db.session.commit()
    return app


def look() -> dict[str, Any]:
    """Return the number of this connection, and the requests that are open on it."""
    with create_app().app_context():
        asked = "SELECT pg_backend_pid(), now() = statement_timestamp(), (SELECT count(*) FROM paid)"
        backend, alone, paid = db.session.execute(text(asked)).one()
    return {"backend": backend, "alone": alone, "paid": paid, "process": os.getpid()}


def leave() -> None:
    """Pay, and neither commit nor roll back."""
    with create_app().app_context():
        db.session.execute(text("INSERT INTO paid VALUES (1)"))
