"""Redis over TLS, with a certificate that nobody knows, in the spellings of redis-py, of Celery and of Valkey."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.support.deadline import wait_until
from tests.support.need import need
from tests.support.project import write_project
from tests.support.running import Running
from tests.support.servers import free_port

pytestmark = pytest.mark.redis_server


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """The port of a server that speaks TLS alone, and its certificate."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate, port = folder / "key.pem", folder / "certificate.pem", free_port()
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([need("openssl"), "req", *made, *subject], check=True, capture_output=True)
    words = ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--tls-auth-clients", "no", "--save", ""]
    words += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--dir", str(folder)]
    with Running([need("redis-server"), *words], cwd=folder) as server:
        client = redis.Redis(port=port, ssl=True, ssl_ca_certs=str(certificate))

        def answers() -> bool:
            assert server.process.poll() is None, server.stdout
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

        wait_until(answers, 30.0, "redis-server answers over TLS")
        yield port, certificate


@pytest.mark.parametrize(
    ("url", "sound"),
    [
        ("rediss://localhost:{port}/0?ssl_cert_reqs=none", True),
        ("rediss://127.0.0.1:{port}/0?ssl_cert_reqs=CERT_NONE", True),
        ("valkeys://localhost:{port}/0?ssl_cert_reqs=CERT_NONE", True),
        ("valkeys://localhost:{port}/0?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs={certificate}", True),
        ("rediss://localhost:{port}/0?ssl_cert_reqs=CERT_OPTIONAL&ssl_ca_certs={certificate}", True),
        ("rediss://localhost:{port}/0?ssl_cert_reqs=CERT_REQUIRED", False),
        ("valkeys://localhost:{port}/0", False),
    ],
)
def test_a_worker_runs_a_job(tls: tuple[int, Path], tmp_path: Path, url: str, sound: bool) -> None:
    port, certificate = tls
    jobs = {"hello": {"task": "os:getpid"}}
    project = write_project(tmp_path / "p", url.format(port=port, certificate=certificate), jobs)
    if not sound:
        message = project.cli("submit", "hello").check(69).stderr
        assert "ssl_ca_certs" in message
        return
    with project.worker(concurrency=1):
        assert project.cli("submit", "hello", "--wait", "--json").check().json["state"] == "SUCCESS"
