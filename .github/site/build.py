"""Builds the documentation site: `python .github/site/build.py FOLDER`.

Its pages are those of the repository: README, FINDINGS, the notebooks, the measured
tables and the docstrings. Nothing is written twice; a link that leads nowhere is an
error.
"""

import importlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE.parent), str(ROOT)]

import package_page  # noqa: E402

PAGES = (
    "README.md",
    "keras_padsafe/audit/FINDINGS.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("tests/benchmarks/*.md"))),
    *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("notebooks/*.ipynb"))),
)
ROOMS = ("layers", "losses", "metrics", "initializers", "callbacks", "ops")
ROOMS += ("data", "surgery", "audit")


def main(folder: str) -> int:
    """Gathers the pages and builds the site; returns the exit code."""
    from sphinx.cmd.build import build_main

    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        for page in PAGES:
            _copy(page, source)
        for room in ROOMS:
            (source / f"{room}.rst").write_text(_room(room), encoding="utf-8")
        arguments = ["-W", "--keep-going", "-q", "-b", "html", "-c", str(HERE)]
        return build_main([*arguments, str(source), folder])


def _copy(page: str, source: Path) -> None:
    target = source / page
    target.parent.mkdir(parents=True, exist_ok=True)
    if page.endswith(".ipynb"):
        _copy_notebook(page, target)
        return
    text = (ROOT / page).read_text(encoding="utf-8")
    for image in re.findall(r"!\[[^\]]*\]\(([^):]+)\)", text):
        (source / image).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / image, source / image)

    def elsewhere(found: re.Match[str]) -> str:
        """A link to what is no page leads to the repository, if that is known."""
        inside = str((Path(page).parent / found[3]).as_posix())
        if found[1] or inside in PAGES:
            return found[0]
        return package_page.absolute_links(found[0], package_page.address(), "main")

    text = package_page.LINK.sub(elsewhere, text)
    if page == "README.md":
        text += _contents()
    target.write_text(text, encoding="utf-8")


def _copy_notebook(page: str, target: Path) -> None:
    """The notebook with a badge below its title, where one can be run by a click."""
    notebook = json.loads((ROOT / page).read_text(encoding="utf-8"))
    badge = package_page.hosted_link(page, package_page.address(), "main")
    if badge:
        title = notebook["cells"][0]
        title["source"] = "".join(title["source"]) + f"\n\n{badge}"
    target.write_text(json.dumps(notebook), encoding="utf-8")


def _contents() -> str:
    """The hidden table that puts every page into the menu."""
    menus = {
        "Pages": [page for page in PAGES[1:5]],
        "Tutorials": [page for page in PAGES if page.endswith(".ipynb")],
        "Measured": [page for page in PAGES if page.startswith("tests/")],
        "Reference": ROOMS,
    }
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n"
        + "\n".join(page.rsplit(".", 1)[0] for page in pages)
        + "\n```\n"
        for caption, pages in menus.items()
    )


def _room(room: str) -> str:
    """A page with every public name of a room."""
    module = importlib.import_module(f"keras_padsafe.{room}")
    title = f"keras_padsafe.{room}"
    lines = [title, "=" * len(title), "", f".. currentmodule:: {title}", ""]
    seen = set()
    for name in getattr(module, "__all__", vars(module)):
        value = getattr(module, name)
        if name.startswith("_") or not callable(value) or id(value) in seen:
            continue
        if not getattr(value, "__module__", "").startswith("keras_padsafe"):
            continue
        seen.add(id(value))
        kind = "class" if isinstance(value, type) else "function"
        lines += [name, "-" * len(name), "", f".. auto{kind}:: {name}", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
