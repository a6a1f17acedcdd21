"""An index of the words on the pages of a folder, built in steps by the flow ``index-docs``.

The steps share a scratch folder, since the words of a page are more than a result should hold. Each can be repeated at
any time: it writes its file under another name, and renames it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from examples import PROJECT
from runner import current_run

WORD = re.compile(r"[a-z]{4,}")
LINK = re.compile(r"\]\(([^)\s#]+)")
INDEX = Path(".runner") / "page-index.json"


class PageIndexError(Exception):
    """The index cannot be built."""


def scratch_of(folder: str, project: Path) -> Path:
    """Return the scratch folder: one for each folder, because the flow's ``concurrency`` allows one run at a time."""
    name = hashlib.sha256(folder.encode()).hexdigest()[:16]
    scratch = project / ".runner" / "scratch" / name
    scratch.mkdir(parents=True, exist_ok=True)
    return scratch


def list_pages(folder: str = "docs", project: Path = PROJECT) -> list[str]:
    """Return the names of the pages below ``folder``.

    Raises:
        PageIndexError: the folder is not one of this project, or has no pages.
    """
    source = (project / folder).resolve()
    if not source.is_relative_to(project) or not source.is_dir():
        raise PageIndexError(f"{folder} is not a folder inside of {project}")
    pages = sorted(path.relative_to(project).as_posix() for path in source.rglob("*.md"))
    if not pages:
        raise PageIndexError(f"{folder} has no pages")
    return pages


def count_words(folder: str, page: str, project: Path = PROJECT) -> dict[str, Any]:
    """Write the word counts of a page to the scratch folder, and return their sums and the broken links."""
    path = project / page
    text = path.read_text("utf-8")
    counts = Counter(WORD.findall(text.lower()))
    file = f"{hashlib.sha256(page.encode()).hexdigest()[:16]}.json"
    _write(scratch_of(folder, project) / file, json.dumps(counts))
    links = [link for link in LINK.findall(text) if "://" not in link and not link.startswith("mailto:")]
    broken = sorted({link for link in links if not (path.parent / link).exists()})
    return {"page": page, "file": file, "words": counts.total(), "links": len(links), "broken": broken}


def join_pages(folder: str, pages: list[dict[str, Any]], project: Path = PROJECT) -> dict[str, Any]:
    """Merge the words of all pages into one index in the scratch folder, and compare it with the existing one."""
    scratch = scratch_of(folder, project)
    index: dict[str, dict[str, int]] = defaultdict(dict)
    for page in pages:
        for word, count in json.loads((scratch / page["file"]).read_text()).items():
            index[word][page["page"]] = count
    text = json.dumps(index, indent=0, sort_keys=True)
    _write(scratch / INDEX.name, text)
    old = project / INDEX
    word_count = sum(page["words"] for page in pages)
    print(f"{len(pages)} pages, {word_count} words, {len(index)} different ones")  # noqa: T201 - the log of the run
    return {
        "pages": len(pages),
        "words": word_count,
        "different": len(index),
        "broken": {page["page"]: page["broken"] for page in pages if page["broken"]},
        "changed": not old.exists() or old.read_text() != text,
    }


def publish(folder: str, project: Path = PROJECT) -> str:
    """Replace the old index with the new one."""
    _write(project / INDEX, (scratch_of(folder, project) / INDEX.name).read_text())
    return INDEX.as_posix()


def clean_up(folder: str, join: str, publish: str, project: Path = PROJECT) -> list[str]:
    """Remove the scratch folder, or after a failure only the partial files in it, and return the names.

    The words of the pages are kept after a failure: ``runner rerun --from-failed`` does not count them again.
    """
    scratch = scratch_of(folder, project)
    done = join == "SUCCESS" and publish != "FAILURE"
    removed = sorted(path.name for path in scratch.iterdir() if done or path.suffix == ".partial")
    for name in removed:
        (scratch / name).unlink()
    if done:
        shutil.rmtree(scratch)
    return removed


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(f".{current_run().attempt}.partial")
    partial.write_text(text)
    partial.replace(path)
