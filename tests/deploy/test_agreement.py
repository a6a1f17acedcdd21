"""The files under ``deploy/`` agree with the package: its version and extras, its settings, commands, and metrics."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from runner._version import DISTRIBUTION, __version__
from runner.crontab.unit import STOP_MARGIN_SECONDS, Host, scheduler_units, worker_units
from runner.model.duration import parse_duration
from runner.settings.options import WorkerSettings
from tests.deploy.manifests import (
    DEPLOY,
    GRACE,
    IMAGE,
    KNOWN_VARIABLES,
    ROOT,
    check_probe,
    is_command,
    metrics_in,
    read,
)
from tests.support.project import Project, runner_cli

DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text("utf-8")
COMPOSE = read("compose", "compose.yaml")
SERVICES = {name: service for name, service in COMPOSE["services"].items() if name != "redis"}
DEFAULT_GRACE = WorkerSettings().shutdown_grace


def default(text: str) -> str:
    """Return the value that Compose uses for ``${NAME:-DEFAULT}``."""
    found = re.fullmatch(r"\$\{[A-Z_]+:-(.*)\}", text)
    assert found is not None, text
    return found[1]


def test_every_version_is_that_of_the_package() -> None:
    written = [
        match
        for path in sorted(DEPLOY.rglob("*"))
        if path.is_file() and path.suffix != ".json"
        for match in re.findall(r"celery[-_]runner(?:\[[a-z,]+\])?(?:[:=-]+)(\d+\.\d+\.\d+)", path.read_text("utf-8"))
    ]
    assert set(written) == {__version__}
    assert f'image.version="{__version__}"' in DOCKERFILE
    chart = read("helm", "runner", "Chart.yaml")
    assert chart["version"] == chart["appVersion"] == __version__
    [image] = read("kubernetes", "base", "kustomization.yaml")["images"]
    assert f"{image['newName']}:{image['newTag']}" == IMAGE


def test_the_image_installs_this_distribution_with_extras_that_there_are() -> None:
    found = re.search(r'^ARG RUNNER="([^\[]+)\[([^\]]+)\]==(.+)"$', DOCKERFILE, re.MULTILINE)
    assert found is not None
    assert (found[1], found[3]) == (DISTRIBUTION, __version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(found[2].split(",")) <= project["optional-dependencies"].keys()
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in DOCKERFILE


def test_the_dockerfile_sets_what_the_runner_reads() -> None:
    assert set(re.findall(r"\bRUNNER_[A-Z_]+(?==)", DOCKERFILE)) <= KNOWN_VARIABLES
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", DOCKERFILE, re.MULTILINE)
    check = re.search(r'^HEALTHCHECK .*CMD \["runner", (.+)\]$', DOCKERFILE, re.MULTILINE)
    assert check is not None
    assert is_command(re.findall(r'"([^"]+)"', check[1]))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose(name: str) -> None:
    service = SERVICES[name]
    assert default(service["image"]) == IMAGE
    assert (DEPLOY / "compose" / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert is_command(service["command"])
    assert service["read_only"] is True
    assert service["user"] == "10001:10001"
    assert service["environment"].keys() <= KNOWN_VARIABLES
    [secret] = service["secrets"]
    assert service["environment"]["RUNNER_REDIS_URL"] == f"file:/run/secrets/{secret}"
    assert secret in COMPOSE["secrets"]
    if name == "worker":
        check_probe(service["healthcheck"]["test"][1:])
        # Others inherit the check of the image, which asks for a worker.
    else:
        assert "healthcheck" in service


def test_redis_of_compose_keeps_what_it_acknowledged() -> None:
    words = COMPOSE["services"]["redis"]["command"]
    assert words[words.index("--appendonly") + 1] == "yes"
    assert words[words.index("--maxmemory-policy") + 1] == "noeviction"
    assert "/run/secrets/redis_conf" in words
    assert not any("requirepass" in word for word in words)


def test_a_worker_of_compose_gets_its_grace() -> None:
    worker = SERVICES["worker"]
    grace = parse_duration(default(worker["environment"][GRACE]))
    assert grace == DEFAULT_GRACE
    assert parse_duration(default(worker["stop_grace_period"])) == grace + STOP_MARGIN_SECONDS


@pytest.mark.parametrize("folder", ["compose/project", "kubernetes/base"])
def test_an_example_project_is_valid(folder: str, tmp_path: Path) -> None:
    for name in ("runner.yaml", "jobs.d"):
        source = DEPLOY / folder / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    runner_cli("validate", "--project", tmp_path, cwd=tmp_path).check(0)


def test_the_metrics_that_keda_asks_for_are_served(make_project: Callable[..., Project]) -> None:
    project = make_project({"hello": {"task": "os:getcwd"}})
    project.submit("hello")
    served = project.cli("metrics").check().stdout
    assert 'runner_queue_waiting{queue="default"} 1.0' in served
    [trigger] = read("kubernetes", "keda", "scaledobject.yaml")["spec"]["triggers"]
    chart = (DEPLOY / "helm" / "runner" / "templates" / "scaledobject.yaml").read_text("utf-8")
    for query in (trigger["metadata"]["query"], chart[chart.index("query:") :]):
        names = set(metrics_in(query))
        assert "runner_queue_waiting" in names
        assert all(f"# TYPE {name} gauge" in served for name in names)


def test_the_units_are_those_that_the_runner_writes() -> None:
    host = Host(["/srv/reports/.venv/bin/runner"], "/srv/reports", "reports")
    units = worker_units(host, DEFAULT_GRACE) | scheduler_units(host)
    assert {path.name: path.read_text("utf-8") for path in (DEPLOY / "systemd").glob("*.service")} == units
