"""RabbitMQ over TLS: the certificate is checked, by clients and by every connection of a worker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import runner
from runner.delivery.amqp.connection import open_connection
from runner.delivery.amqp.publisher import HintPublisher
from runner.errors import Unavailable
from runner.ledger.hint import Hint
from runner.settings import Settings
from tests.support.need import need
from tests.support.project import write_project
from tests.support.rabbit import USER, RabbitMQ, rabbit
from tests.support.servers import Server, free_port

pytestmark = pytest.mark.long


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Return a certificate of 127.0.0.1, signed by itself, and its key."""
    made, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    words += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run([need("openssl"), *words], check=True, capture_output=True)
    return made, key


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitMQ, int, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = certificate(folder, "server")
    port = free_port()
    config = {
        "listeners.ssl.default": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": str(made),
        "ssl_options.certfile": str(made),
        "ssl_options.keyfile": str(key),
        "ssl_options.verify": "verify_none",
    }
    with rabbit(folder / "node", config) as node:
        yield node, port, made


def url(over_tls: tuple[RabbitMQ, int, Path], options: str, host: str = "127.0.0.1") -> str:
    node, port, _ = over_tls
    return f"amqps://{USER}:{node.password}@{host}:{port}/?{options}"


def test_a_hint_is_published_where_the_certificate_is_known(
    settings: Settings, over_tls: tuple[RabbitMQ, int, Path]
) -> None:
    for options in (
        f"cacertfile={over_tls[2]}",
        f"ssl_ca_certs={over_tls[2]}&ssl_cert_reqs=required",
        "verify=verify_none",
    ):
        publisher = HintPublisher(replace(settings, broker_url=url(over_tls, options)))
        assert publisher.publish([Hint("a", "q", 5)]) == [], publisher.trouble
        publisher.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(
    settings: Settings, over_tls: tuple[RabbitMQ, int, Path], tmp_path: Path
) -> None:
    other, _ = certificate(tmp_path, "other")
    for options in ("", f"cacertfile={other}", f"cacertfile={over_tls[2]}&server_name_indication=example.com"):
        with pytest.raises(Unavailable) as raised:
            open_connection(replace(settings, broker_url=url(over_tls, options)))
        assert "certificate verify failed" in raised.value.message


def test_a_worker_connects_over_tls(tmp_path: Path, redis_server: Server, over_tls: tuple[RabbitMQ, int, Path]) -> None:
    settings = {"broker_url": url(over_tls, f"cacertfile={over_tls[2]}")}
    jobs = {"add": {"task": "work:add"}}
    project = write_project(tmp_path, redis_server.url, jobs, {"work.py": "def add():\n    return 2\n"}, settings)
    with project.worker():
        assert runner.submit("add", project=project.path).wait(timeout=30).result == 2
