"""The kustomizations, rendered by ``kubectl kustomize`` and checked against the schemas of Kubernetes and KEDA."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, check_manifests, of_kind
from tests.deploy.queries import check_scaling
from tests.deploy.tools import check_schemas, documents, done, tool

GRACE = {"base": 30.0, "keda": 3600.0}


@pytest.mark.parametrize("name", GRACE)
def test_a_kustomization(name: str, tmp_path: Path) -> None:
    manifests = documents(done(tool("kubectl", "kustomize", DEPLOY / "kubernetes" / name)))
    check_manifests(manifests, grace=GRACE[name])
    check_schemas(manifests, tmp_path)
    [worker] = [
        deployment
        for deployment in of_kind(manifests, "Deployment")
        if deployment["metadata"]["name"] == "runner-worker"
    ]
    scaled = of_kind(manifests, "ScaledObject")
    # Two that set the number of workers would fight.
    assert ("replicas" in worker["spec"]) is not bool(scaled)
    for scaled_object in scaled:
        assert scaled_object["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
        check_scaling(scaled_object, tmp_path)


def test_jobs_keep_the_name_of_their_config_map_and_settings_do_not() -> None:
    manifests = documents(done(tool("kubectl", "kustomize", DEPLOY / "kubernetes" / "base")))
    names = {config_map["metadata"]["name"]: config_map["data"] for config_map in of_kind(manifests, "ConfigMap")}
    assert list(names["runner-jobs"]) == ["hello.yaml"]
    [settings] = names.keys() - {"runner-jobs"}
    assert settings.startswith("runner-settings-")


def test_the_schemas_refuse_what_is_wrong(tmp_path: Path) -> None:
    manifests = documents(done(tool("kubectl", "kustomize", DEPLOY / "kubernetes" / "keda")))
    [budget] = of_kind(manifests, "PodDisruptionBudget")
    [scaled] = of_kind(manifests, "ScaledObject")
    for manifest, wrong in ((budget, "maxUnavailible"), (scaled, "minReplicas")):
        manifest["spec"][wrong] = 1
        with pytest.raises(AssertionError, match=wrong):
            check_schemas([manifest], tmp_path)
