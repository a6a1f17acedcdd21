"""The files under ``deploy/``, and what must be true of every manifest of Kubernetes, however it was made."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from runner._version import __version__
from runner.cli.main import root
from runner.crontab.unit import STOP_MARGIN_SECONDS
from runner.model.duration import parse_duration
from runner.settings.environment import OTHERS, variables
from runner.settings.options import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
IMAGE = f"celery-runner:{__version__}"
KNOWN_VARIABLES = {name for name, _, _ in variables(Settings)} | OTHERS
GRACE = "RUNNER_WORKER_SHUTDOWN_GRACE"

Document = dict[str, Any]


def read(*names: str) -> Document:
    """Return the YAML of a file under ``deploy/``."""
    found: Document = yaml.safe_load(DEPLOY.joinpath(*names).read_text("utf-8"))
    return found


def is_command(words: Iterable[str]) -> bool:
    """Parse the words after ``runner`` as the command would, and execute nothing; raise what it refuses."""
    try:
        with root.make_context("runner", list(words)) as group:
            name, command, rest = root.resolve_command(group, [*group._protected_args, *group.args])
            assert command is not None
            with command.make_context(name, list(rest), parent=group):
                pass
    except click.exceptions.Exit:
        pass
    return True


def check_probe(words: list[str]) -> None:
    """Check the command of a health check: ``runner …`` itself, or a shell that runs it."""
    if words[:2] == ["sh", "-c"]:
        words = shlex.split(words[2].partition("||")[0])
    if words[0] == "runner":
        assert is_command(words[1:])


def of_kind(documents: Iterable[Document], kind: str) -> list[Document]:
    """Return the manifests of a kind."""
    return [document for document in documents if document["kind"] == kind]


def check_manifests(documents: list[Document], *, grace: float) -> None:
    """Check what keeps pods safe, whole, and in agreement with the runner."""
    workloads = of_kind(documents, "Deployment")
    assert {component(workload) for workload in workloads} >= {"worker", "scheduler"}
    maps = {config_map["metadata"]["name"] for config_map in of_kind(documents, "ConfigMap")}
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        # Service links would set RUNNER_WEB_PORT=tcp://…
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume} <= maps
        [container] = pod["containers"]
        assert container["image"] == IMAGE
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert is_command(container["args"])
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes)
        assert "emptyDir" in volumes[mounts["/tmp"]["name"]]
        assert all(mount.get("readOnly") for path, mount in mounts.items() if path != "/tmp")
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        assert set(environment) <= KNOWN_VARIABLES
        secret = Path(environment["RUNNER_REDIS_URL"].removeprefix("file:"))
        assert "secret" in volumes[mounts[str(secret.parent)]["name"]]
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "exec" in (probe := container.get(name, {})):
                check_probe(probe["exec"]["command"])
    [worker] = [workload for workload in workloads if component(workload) == "worker"]
    pod = worker["spec"]["template"]["spec"]
    asked = {variable["name"]: variable["value"] for variable in pod["containers"][0]["env"]}[GRACE]
    assert parse_duration(asked) == grace
    assert pod["terminationGracePeriodSeconds"] == grace + STOP_MARGIN_SECONDS
    [budget] = of_kind(documents, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= worker["spec"]["template"]["metadata"]["labels"].items()


def component(workload: Document) -> str:
    """Return whether it is the worker, the scheduler, or the web."""
    found: str = workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
    return found


def metrics_in(query: str) -> Iterator[str]:
    """Yield the names of the metrics of a PromQL query."""
    yield from re.findall(r"\brunner_\w+", query)
