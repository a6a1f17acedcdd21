"""The Helm chart, rendered by Helm and checked against the schemas of Kubernetes and KEDA."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runner.settings import load_settings
from tests.deploy.manifests import Document, check_manifests, component, of_kind
from tests.deploy.queries import check_scaling
from tests.deploy.tools import CHART, check_schemas, documents, done, helm, tool
from tests.support.project import runner_cli

TOKEN = f"web.tokens.alice.sha256={'0' * 64},web.tokens.alice.role=read"
ALL = ["--set", f"web.enabled=true,{TOKEN}", "--set", "web.hosts={runner.example.com}", "--set", "keda.enabled=true"]
ALL += ["--set", "jobSecrets.existingSecret=reports-secrets", "--set", "worker.queues={default,reports}"]


def settings_of(manifests: list[Document], folder: Path) -> Path:
    """Write the project that the ConfigMaps hold; return its folder."""
    for config_map in of_kind(manifests, "ConfigMap"):
        target = folder / ("jobs.d" if config_map["metadata"]["name"].endswith("-jobs") else "")
        target.mkdir(exist_ok=True)
        for name, text in config_map["data"].items():
            (target / name).write_text(text, "utf-8")
    return folder


def test_lint() -> None:
    done(tool("helm", "lint", "--strict", CHART))


def test_the_defaults(tmp_path: Path) -> None:
    manifests = documents(done(helm()))
    check_manifests(manifests, grace=30.0)
    check_schemas(manifests, tmp_path)
    assert {component(deployment) for deployment in of_kind(manifests, "Deployment")} == {"worker", "scheduler"}
    assert of_kind(manifests, "ScaledObject") == []
    project = settings_of(manifests, tmp_path)
    assert load_settings(project, environ={}).namespace == "runner"
    runner_cli("validate", "--project", project, cwd=project).check(0)


def test_everything(tmp_path: Path) -> None:
    manifests = documents(done(helm(*ALL)))
    check_manifests(manifests, grace=3600.0)
    check_schemas(manifests, tmp_path)
    settings = load_settings(settings_of(manifests, tmp_path), environ={})
    assert settings.web.hosts == ("runner.example.com",)
    assert settings.web.tokens["alice"].role == "read"
    [worker] = [deployment for deployment in of_kind(manifests, "Deployment") if component(deployment) == "worker"]
    # Two that set the number of workers would fight.
    assert "replicas" not in worker["spec"]
    [scaled] = of_kind(manifests, "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    check_scaling(scaled, tmp_path)


@pytest.mark.parametrize(("keda", "seconds", "grace"), [("true", 7200, 7200), ("true", 30, 3600), ("false", 90, 90)])
def test_the_grace_period_follows_shutdown_grace(keda: str, seconds: int, grace: float) -> None:
    chosen = f"worker.shutdownGraceSeconds={seconds},keda.enabled={keda}"
    check_manifests(documents(done(helm("--set", chosen))), grace=grace)


def test_changed_settings_replace_pods_and_changed_jobs_do_not() -> None:
    def sums(*args: str) -> set[str]:
        found = of_kind(documents(done(helm(*args))), "Deployment")
        return {deployment["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for deployment in found}

    before = sums()
    assert sums("--set", "settings.timezone=Europe/Berlin") != before
    assert sums("--set", r"jobs.other\.yaml=jobs:") == before


def test_what_cannot_work_is_refused() -> None:
    refused = helm("--set", "web.enabled=true")
    assert refused.returncode != 0
    assert "web.tokens is empty" in refused.stderr
    refused = helm("--set", "worker.replica=3")
    assert refused.returncode != 0
    assert "replica" in refused.stderr


def test_an_own_config_map_of_jobs() -> None:
    manifests = documents(done(helm("--set", "existingJobsConfigMap=reports-jobs-d")))
    [settings] = of_kind(manifests, "ConfigMap")
    assert settings["metadata"]["name"].endswith("-settings")
    assert "reports-jobs-d" in yaml.safe_dump(of_kind(manifests, "Deployment"))
