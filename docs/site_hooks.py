"""What MkDocs needs to know: some pages of the site stand beside ``docs``, where people look for them on GitHub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
BESIDE = {
    "README.md": "about.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)]*)?\))")
_ENTRY = re.compile(r"^- \[([^\]]+)\]\(([^)]+)\)", re.MULTILINE)
_ONLY_IN_THE_REPOSITORY = ("LICENSE", "README.zh-CN.md")


def on_config(config: Any) -> Any:
    """Order the pages as their index, ``docs/README.md``, does."""
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    nav: list[dict[str, Any]] = [{"Overview": "README.md"}, {"About": "about.md"}]
    for section in index.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        nav.append({title: [{words: page} for words, page in _ENTRY.findall(text)]})
    beside = {"Changes": "changes.md", "Contributing": "contributing.md", "Security": "security.md"}
    config["nav"] = [*nav, *({title: page} for title, page in beside.items())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that stand beside ``docs``."""
    for source, page in BESIDE.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=_LINK.sub(_from_root, text)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Have links to what stands beside ``docs`` lead to its page."""
    depth = page.file.src_uri.count("/")

    def link(found: re.Match[str]) -> str:
        target = found[2].removeprefix("../" * (depth + 1))
        if target != found[2] and target in BESIDE:
            return f"{found[1]}{'../' * depth}{BESIDE[target]}{found[3]}"
        return found[0]

    return _LINK.sub(link, markdown)


def _from_root(found: re.Match[str]) -> str:
    target = found[2]
    if target in _ONLY_IN_THE_REPOSITORY:
        # No page of the site: the words stay, the link leads to the page about the project.
        return f"{found[1]}about.md)"
    return f"{found[1]}{BESIDE.get(target, target.removeprefix('docs/'))}{found[3]}"
