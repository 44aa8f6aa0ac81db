"""`explain`: each code has its page."""

import json

import pytest

from keras_padsafe.audit import CODES

from .conftest import Run


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_page_with_a_fix(run: Run, code: str) -> None:
    screen = run("explain", code.lower())
    document = json.loads(run("explain", code, "--json").stdout)
    assert screen.exit_code == 0
    assert screen.stdout.startswith(f"{code} {CODES[code].title}\n")
    assert "\n  Fix: " in screen.stdout
    assert (document["code"], document["severity"]) == (code, CODES[code].severity)
    assert document["text"].startswith(f"*{CODES[code].severity.capitalize()}.*")
    assert "\n## " not in document["text"]


def test_code_is_shown_as_it_stands(run: Run) -> None:
    assert "\n    x = x * 2.0  # the mask is gone\n" in run("explain", "PS301").stdout


def test_without_a_code_all_are_listed(run: Run) -> None:
    listed = run("explain").stdout
    assert [c for c in CODES if f"{c}  {CODES[c].severity}" in listed] == [*CODES]


@pytest.mark.parametrize(("code", "near"), [("PS310", "PS510"), ("mask", "explain")])
def test_an_unknown_code_is_told_the_near_ones(run: Run, code: str, near: str) -> None:
    result = run("explain", code)
    assert (result.exit_code, result.stdout) == (2, "")
    assert code in result.stderr
    assert near in result.stderr
