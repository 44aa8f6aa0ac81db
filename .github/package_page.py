"""The README as the page of a package, whose relative links lead nowhere.

The build calls this (`pyproject.toml`). Where it runs in the repository's own workflow,
the address is known, and links lead to the files of this version; anywhere else the
words of a link stay and the link goes.
"""

import os
import re
from pathlib import Path

try:
    from hatchling.metadata.plugin.interface import MetadataHookInterface as _Hook
except ImportError:  # Only the build needs it.
    _Hook = object

HOSTED = "https://colab.research.google.com"
BADGE = f"{HOSTED}/assets/colab-badge.svg"
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)]+)\)")


def address() -> str | None:
    """Where the repository can be read, if this is one of its workflows."""
    server = os.environ.get("GITHUB_SERVER_URL")
    repository = os.environ.get("GITHUB_REPOSITORY")
    return f"{server}/{repository}" if server and repository else None


def absolute_links(text: str, where: str | None, tag: str) -> str:
    """The text with links that work anywhere.

    Args:
        text: Markdown with links relative to the repository.
        where: The address of the repository; `None` takes such links out.
        tag: The tag or branch whose files are meant.
    """

    def link(found: re.Match[str]) -> str:
        image, words, path = found.groups()
        if where is None:
            return "" if image else words
        kind = "raw" if image else "blob"
        made = f"{image}[{words}]({where}/{kind}/{tag}/{path})"
        return " ".join(filter(None, (made, hosted_link(path, where, tag))))

    return LINK.sub(link, text)


def hosted_link(path: str, where: str | None, tag: str) -> str:
    """The badge that opens a notebook of the repository and runs it, if one can."""
    name = (where or "").removeprefix("https://github.com/")
    if name in ("", where) or not path.endswith(".ipynb"):
        return ""
    address = f"{HOSTED}/github/{name}/blob/{tag}/{path}"
    return f"[![Open in Colab]({BADGE})]({address})"


class PackagePage(_Hook):
    """Gives the build the page, and the addresses if they are known."""

    def update(self, metadata: dict) -> None:
        where = address()
        tag = f"v{metadata['version']}"
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute_links(text, where, tag),
        }
        metadata["urls"] = {} if where is None else urls(where, tag)


def urls(where: str, tag: str) -> dict[str, str]:
    """The links beside the page."""
    return {
        "Repository": where,
        "Issues": f"{where}/issues",
        "Changelog": f"{where}/blob/{tag}/CHANGELOG.md",
        "Findings": f"{where}/blob/{tag}/keras_padsafe/audit/FINDINGS.md",
    }
