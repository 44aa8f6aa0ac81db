"""The README as the page of a package: no link of it leads nowhere."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)]+)\)")


@pytest.fixture(scope="module")
def page() -> Any:
    path = ROOT / ".github" / "package_page.py"
    spec = importlib.util.spec_from_file_location("package_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_with_an_address_every_link_leads_to_the_files_of_the_version(
    page: Any,
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    where = "https://code.example/team/project"
    made = page.absolute_links(readme, where, "v1.2.3")
    before, after = LINK.findall(readme), LINK.findall(made)
    assert len(before) == len(after) > 10
    for old, new in zip(before, after, strict=True):
        if old.startswith(("http", "#")):
            assert new == old
        else:
            kind = "raw" if old.endswith(".png") else "blob"
            assert new == f"{where}/{kind}/v1.2.3/{old}"


def test_a_notebook_on_github_can_be_run_by_a_click(page: Any) -> None:
    where = "https://github.com/team/project"
    made = page.absolute_links("[one](notebooks/1.ipynb), [two](x.md)", where, "v1")
    one, two = made.split(", ")
    assert "(https://colab.research.google.com/github/team/project/blob/v1/" in one
    assert one.endswith("notebooks/1.ipynb)")
    assert two == f"[two]({where}/blob/v1/x.md)"
    assert page.hosted_link("1.ipynb", None, "v1") == ""
    assert page.hosted_link("1.ipynb", "https://code.example/a/b", "v1") == ""


def test_without_an_address_words_stay_and_links_go(page: Any) -> None:
    text = "![picture](a/b.png) see [the page](x.md) or [this](https://example.org)"
    made = page.absolute_links(text, None, "v1")
    assert made == " see the page or [this](https://example.org)"


def test_the_address_is_that_of_the_workflow(
    page: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    assert page.address() is None
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://code.example")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/project")
    assert page.address() == "https://code.example/team/project"
