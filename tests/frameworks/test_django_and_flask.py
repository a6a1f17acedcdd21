"""Projects on Django and Flask that have Celery already: they submit jobs, and own the tasks that jobs run.

The folders beside this file are such projects. A task of theirs that the runner runs hands work to their own worker,
by ``.delay()``, as it did before.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery

from tests.support.deadline import wait_until
from tests.support.project import Project, clean_environment
from tests.support.running import Running
from tests.support.scripts import python
from tests.support.servers import Server, kombu_url

HERE = Path(__file__).parent
THEIR_DATABASE = 10


@pytest.fixture
def shop(make_project: Callable[..., Project], redis_server: Server) -> Callable[[str], Project]:
    def make(folder: str) -> Project:
        project = make_project()
        shutil.copytree(HERE / folder, project.path, dirs_exist_ok=True)
        project.environment.update(
            RUNNER_PROJECT=str(project.path),
            SHOP_BROKER_URL=kombu_url(redis_server.database(THEIR_DATABASE)),
        )
        settings = (project.path / "runner.yaml").read_text().replace("env:SHOP_RUNS_URL", redis_server.url)
        project.write({"runner.yaml": f"{settings}namespace: {project.namespace}\n"})
        return project

    return make


@contextmanager
def their_worker(project: Project, module: str) -> Iterator[Running]:
    environment = clean_environment(project.environment)
    words = [sys.executable, "-m", "celery", "-A", module, "worker", "-P", "solo", "-l", "info", "--without-gossip"]
    with Running(words, cwd=project.path, env=environment) as worker:
        worker.wait_for("ready.", 40.0)
        yield worker


DJANGO = """
import json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from django.test import Client
from shop.models import Order
for number in (1, 2, 3):
    Order.objects.create(number=number)
first = Client().get("/close?least=2&key=today").json()
again = Client().get("/close?least=2&key=today").json()
print(json.dumps([first["id"], again["id"], Client().get("/state/" + first["id"]).json()["state"]]))
"""

ORDERS = """
import json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
import django
django.setup()
from shop.models import Order
print(json.dumps([order.report for order in Order.objects.order_by("number")]))
"""


def test_django(shop: Callable[[str], Project]) -> None:
    project = shop("django_shop")
    python(project, "manage.py", "migrate", "--run-syncdb", "-v", "0")
    assert project.cli("validate", "--imports").check().stdout == ""
    run_id, again, state = python(project, "-c", DJANGO)
    assert (again, state) == (run_id, "PENDING")
    with project.worker(concurrency=1), their_worker(project, "shop"):
        done = project.wait_for_state(run_id, "SUCCESS", "FAILURE", deadline=40.0)
        assert done["state"] == "SUCCESS", done["error"]
        assert done["result"]["numbers"] == [2, 3]
        # Their own worker did its part: it is the one that the nested .delay() reached.
        wait_until(lambda: python(project, "-c", ORDERS) == ["", "receipt", "receipt"], 40.0, "the receipts are there")
    assert project.cli("runs", "--json").check().json[0]["id"] == run_id


FLASK = """
import json
from shop import create_app
client = create_app().test_client()
made = client.post("/greet/Ann", headers={"Idempotency-Key": "1"}).get_json()
again = client.post("/greet/Ann", headers={"Idempotency-Key": "1"}).get_json()
print(json.dumps([made["id"], again["id"], client.get("/runs/" + made["id"]).get_json()["state"]]))
"""


def test_flask(shop: Callable[[str], Project]) -> None:
    project = shop("flask_shop")
    assert project.cli("validate", "--imports").check().stdout == ""
    run_id, again, state = python(project, "-c", FLASK)
    assert (again, state) == (run_id, "PENDING")
    theirs = Celery(broker=project.environment["SHOP_BROKER_URL"], backend=project.environment["SHOP_BROKER_URL"])
    with project.worker(concurrency=1), their_worker(project, "make_celery"):
        done = project.wait_for_state(run_id, "SUCCESS", "FAILURE", deadline=40.0)
        assert done["state"] == "SUCCESS", done["error"]
        assert done["result"]["words"] == "hello Ann"
        assert theirs.AsyncResult(done["result"]["handed"]).get(timeout=40) == "HELLO ANN, hello!"
    theirs.close()


def test_a_plain_client_of_theirs_submits_by_name(shop: Callable[[str], Project], redis_server: Server) -> None:
    project = shop("flask_shop")
    url = kombu_url(redis_server.url)
    with Celery("client", broker=url, backend=url, set_as_current=False) as client, project.worker(concurrency=1):
        result = client.send_task("greet", kwargs={"name": "Bob"})
        assert result.get(timeout=40)["words"] == "hello Bob"
        assert project.document(result.id)["trigger"] == "celery"
