"""The package shows people what there is: metadata, the page on PyPI, and an sdist that is complete."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import __version__
from tests.support.sources import sources

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)\s]+)\)")
_ADDRESS = re.compile(r"https://(?:[a-z.]*\.)?github(?:usercontent)?\.com/[^\s)\"'`]*celery-runner[^\s)\"'`]*")
TEXTS = (".md", ".toml", ".yml", ".yaml", ".py")
SYSTEMS = {"ubuntu-latest": "Operating System :: POSIX :: Linux", "macos-latest": "Operating System :: MacOS"}
NEEDED = (
    *("Makefile", "README.md", "README.zh-CN.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"),
    *("pyproject.toml", "hatch_build.py", "requirements.lock", "requirements-lowest.lock", "mkdocs.yml", "runner.yaml"),
    *(".gitignore", ".pre-commit-hooks.yaml", ".pre-commit-config.yaml", ".ci/run", ".github/workflows/ci.yml"),
    *("runner/py.typed", "schema/jobs.schema.json", "deploy/grafana/runner.json", "docs/README.md", "jobs.d"),
    *("docs/images/overview.png", "examples/demo.py", "benchmarks/__main__.py", "tests/conftest.py"),
)


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def repository() -> str:
    url: str = pyproject()["project"]["urls"]["Repository"]
    return url


@cache
def metadata() -> dict[str, Any]:
    """Return the metadata of the package as the build makes it."""
    words = [sys.executable, "-m", "hatchling", "metadata"]
    found: dict[str, Any] = json.loads(subprocess.check_output(words, cwd=ROOT, text=True, timeout=60))
    return found


def texts() -> list[Path]:
    """Return the files that may name the repository."""
    folders = ("runner", "docs", "examples", "benchmarks", ".github", "jobs.d", "deploy")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in TEXTS]
    return [*found, *(path for path in ROOT.iterdir() if path.suffix in TEXTS)]


def test_links_and_images_on_pypi_are_absolute_and_lead_to_files() -> None:
    text = metadata()["readme"]["text"]
    links = _LINK.findall(re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    ours = [(image, link) for image, link in links if link.startswith(repository())]
    assert len(ours) > 10
    for _, link in links:
        assert re.match(r"https?://|#", link), link
    for image, link in ours:
        kind, _, path = link.removeprefix(f"{repository()}/").partition("/HEAD/")
        assert kind == ("raw" if image else "blob"), link
        assert (ROOT / path.partition("#")[0]).exists(), link


def test_the_readme_on_pypi_is_otherwise_the_readme() -> None:
    text = re.sub(rf"{re.escape(repository())}/(raw|blob)/HEAD/", "", metadata()["readme"]["text"])
    assert text == (ROOT / "README.md").read_text("utf-8")


def test_every_address_of_the_repository_is_the_one_of_the_metadata() -> None:
    for path in texts():
        for address in _ADDRESS.findall(path.read_text("utf-8")):
            assert address.startswith(repository()), f"{path.relative_to(ROOT)}: {address}"


def test_classifiers_name_what_the_workflow_tests() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
    classifiers = pyproject()["project"]["classifiers"]
    pythons = [
        classifier.rpartition(" ")[2] for classifier in classifiers if re.search(r"Python :: 3\.\d+$", classifier)
    ]
    assert pythons == matrix["python"]
    assert pyproject()["project"]["requires-python"] == f">={matrix['python'][0]}"
    assert {classifier for classifier in classifiers if classifier.startswith("Operating")} == {
        SYSTEMS[name] for name in matrix["os"]
    }


def test_the_changelog_has_the_version_with_a_date_and_known_sections() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release) for release in releases[1:])
    assert any(release.startswith(f"[{__version__}] - ") for release in releases)
    sections = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    # A merge that puts entries of Unreleased into a release leaves a heading without a blank line, or a long release.
    assert re.findall(r"^#+ .+\n(?!\n)", text, re.MULTILINE) == []
    assert len(text.partition("\n## [0.1.0]")[2].splitlines()) < 120
    # Nothing was released before the first release, so it fixed nothing that anybody had.
    assert "### Fixed" not in text.partition("\n## [0.1.0]")[2]


def test_hooks_of_our_own_call_what_there_is() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    for hook in config["repos"][0]["hooks"]:
        program, *words = hook["entry"].split()
        if program == "make":
            assert words[-1] in targets
        else:
            # Not looked for beside this Python: the environment of the lowest versions has no tools.
            locked = f"\n{Path(program).name}==" in (ROOT / "requirements.lock").read_text("utf-8")
            assert locked or program == ".venv/bin/runner"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What the sdist holds."""
    folder = tmp_path_factory.mktemp("sdist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True, timeout=120)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_the_sdist_has_what_its_tests_and_its_readme_need(packed: set[str]) -> None:
    for name in NEEDED:
        assert name in packed or any(path.startswith(f"{name}/") for path in packed), name
    assert not any(re.search(r"(^|/)(\.venv|\.runner|__pycache__|dist|site)/", name) for name in packed)


def test_the_sdist_has_every_file_of_the_repository(packed: set[str]) -> None:
    files = sources()
    assert len(files) > 500
    assert set(files) <= packed


def test_an_absolute_link_keeps_its_anchor(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "runner", tmp_path / "runner", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "README.md").write_text(
        "[a](docs/a.md#b) ![i](i.png) [c](#d) [e](https://e.example/) [f](mailto:f@e)\n"
    )
    done = subprocess.check_output([sys.executable, "-m", "hatchling", "metadata", "readme"], cwd=tmp_path, text=True)
    assert f"[a]({repository()}/blob/HEAD/docs/a.md#b) ![i]({repository()}/raw/HEAD/i.png)" in done
    assert "[c](#d) [e](https://e.example/) [f](mailto:f@e)" in done
