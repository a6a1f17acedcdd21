"""The tools that ``make deploy-tools`` installs, and the manifests that Helm and kustomize render."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.deploy.manifests import DEPLOY, ROOT, Document

TOOLS = ROOT / ".venv" / "deploy" / "bin"
KUBERNETES = "1.33"
"""The version whose schemas manifests are checked against: that of the kubectl that is installed beside them."""
CHART = DEPLOY / "helm" / "runner"


def tool(name: str, *args: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool and wait for its end."""
    words = [str(TOOLS / name), *map(str, args)]
    # No setting of whoever runs this, and no cluster.
    environment = {"PATH": f"{TOOLS}:/usr/bin:/bin", "HOME": "/nonexistent", "KUBECONFIG": "/dev/null"}
    return subprocess.run(
        words, input=input, capture_output=True, text=True, timeout=60, check=False, env=environment, cwd=ROOT
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    """Return the output of a tool; fail if the tool failed."""
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def helm(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``helm template`` of the chart."""
    return tool("helm", "template", "reports", CHART, *args)


def documents(text: str) -> list[Document]:
    """Return the manifests in a stream of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


def check_schemas(manifests: Sequence[Document], folder: Path) -> None:
    """Check manifests against the schemas of Kubernetes, and the ScaledObject against those of KEDA."""
    plain = [manifest for manifest in manifests if manifest["kind"] != "ScaledObject"]
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(plain), "utf-8")
    done(tool("kubernetes-validate", "--strict", "--kubernetes-version", KUBERNETES, file))
    for manifest in manifests:
        if manifest["kind"] == "ScaledObject":
            done(tool("python", Path(__file__).with_name("keda_schema.py"), input=yaml.safe_dump(manifest)))
