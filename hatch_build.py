"""Build hook: the description on PyPI is README.md with absolute links, since PyPI has no files beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


def absolute(text: str, repository: str) -> str:
    """Return Markdown with links to files of the repository made absolute.

    Args:
        text: the Markdown. Links within the page, and to other sites, stay.
        repository: the URL of the repository on GitHub, without a slash at its end.
    """

    def link(found: re.Match[str]) -> str:
        image, words, path = found.groups()
        # HEAD is the default branch, whatever its name. GitHub shows a page for blob/, and sends the file for raw/.
        return f"{image}[{words}]({repository}/{'raw' if image else 'blob'}/HEAD/{path})"

    return _LINK.sub(link, text)


class CustomMetadataHook(MetadataHookInterface):
    """Set the readme; hatchling finds this class by its base."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set ``readme`` in ``metadata``, from README.md and the repository that ``project.urls`` names."""
        text = (Path(self.root) / "README.md").read_text("utf-8")
        repository = metadata["urls"]["Repository"]
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, repository)}
