"""A backup that counts only after it has been read back and compared."""

from __future__ import annotations

import hashlib
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from examples import PROJECT
from runner import current_run


class BackupError(Exception):
    """The backup cannot be made."""


class ChangedMeanwhileError(BackupError):
    """A file changed while the folder was packed, so the archive is not a copy of it. A retry can succeed."""


def backup(folder: str = "docs", keep: int = 5, project: Path = PROJECT) -> dict[str, Any]:
    """Write ``folder`` to ``.runner/backups`` as tar.gz with a SHA-256 file, then compare it file by file.

    Only the newest ``keep`` backups of that folder are kept.

    Raises:
        BackupError: the folder is not a folder of this project.
        ChangedMeanwhileError: a file changed while it was being packed.
    """
    source = (project / folder).resolve()
    if source == project or not source.is_relative_to(project):
        raise BackupError(f"{folder} is not a folder inside of {project}")
    if not source.is_dir():
        raise BackupError(f"{folder} is not a folder")
    target = project / ".runner" / "backups"
    if source.is_relative_to(project / ".runner"):
        raise BackupError(f"{folder} contains the backups and the data of the server")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)

    name = source.relative_to(project).as_posix().replace("/", "-")
    archive = target / f"{name}.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.tar.gz"
    partial = archive.with_suffix(".partial")
    try:
        digests = _write(source, partial)
        _verify(partial, digests)
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    digest = _digest(archive)
    Path(f"{archive}.sha256").write_text(f"{digest}  {archive.name}\n", encoding="utf-8")
    removed = _prune(target, name, keep)
    current_run().progress(1.0, "verified")
    return {
        "archive": archive.relative_to(project).as_posix(),
        "sha256": digest,
        "files": len(digests),
        "bytes": archive.stat().st_size,
        "removed": removed,
    }


def _write(source: Path, archive: Path) -> dict[str, str]:
    """Write the archive, and return the digest of each file in the folder."""
    paths = sorted(path for path in source.rglob("*") if path.is_file() and not path.is_symlink())
    digests = {}
    with tarfile.open(archive, "w:gz") as tar:
        for number, path in enumerate(paths, 1):
            name = path.relative_to(source).as_posix()
            digests[name] = _digest(path)
            tar.add(path, arcname=name, recursive=False)
            current_run().progress(0.9 * number / len(paths), f"{number} of {len(paths)} files")
    return digests


def _verify(archive: Path, digests: dict[str, str]) -> None:
    """Read the archive back, and compare its files with ``digests``."""
    found = {}
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                found[member.name] = _sha256(content)
    wrong = sorted(name for name in digests.keys() | found.keys() if digests.get(name) != found.get(name))
    if wrong:
        raise ChangedMeanwhileError(f"changed while it was being packed: {', '.join(wrong[:5])}")


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return _sha256(content)


def _sha256(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := content.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _prune(target: Path, name: str, keep: int) -> list[str]:
    """Remove all but the newest ``keep`` backups. Their names contain the time, so they sort by it."""
    old = sorted(target.glob(f"{name}.*.tar.gz"))[: -max(keep, 1)]
    for archive in old:
        archive.unlink()
        Path(f"{archive}.sha256").unlink(missing_ok=True)
    return [archive.name for archive in old]
