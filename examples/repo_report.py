"""A report on the files in this repository."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from examples import PROJECT

SKIPPED = {"__pycache__", "build", "dist", "node_modules"}


def build(largest: int = 5, folder: Path = PROJECT) -> dict[str, Any]:
    """Count files, lines, and bytes by suffix, and list the largest files. Hidden folders are left out."""
    by_suffix: dict[str, dict[str, int]] = defaultdict(lambda: {"files": 0, "lines": 0, "bytes": 0})
    sizes: list[tuple[int, str]] = []
    for path in _files(folder):
        content = path.read_bytes()
        counts = by_suffix[path.suffix or path.name]
        counts["files"] += 1
        counts["lines"] += content.count(b"\n")
        counts["bytes"] += len(content)
        sizes.append((len(content), path.relative_to(folder).as_posix()))
    sizes.sort(key=lambda entry: (-entry[0], entry[1]))
    total = {name: sum(counts[name] for counts in by_suffix.values()) for name in ("files", "lines", "bytes")}
    print(f"{total['files']} files, {total['lines']} lines")  # noqa: T201 - what a job prints is in the worker's log
    return {
        **total,
        "by_suffix": dict(sorted(by_suffix.items(), key=lambda item: (-item[1]["lines"], item[0]))),
        "largest": [{"path": path, "bytes": size} for size, path in sizes[:largest]],
    }


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path
