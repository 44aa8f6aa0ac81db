"""The page that explains findings is the list of codes, and each is explained."""

import re

import keras
import numpy as np
import pytest

import keras_padsafe
from keras_padsafe.audit import CODES
from keras_padsafe.audit.codes import PAGE

from ..archive.zoo import keras_may_warn
from ..surgery.reference import only_once

pytestmark = [only_once]
# What the example of a code makes NaN or infinite, by its name there.
MADE_NOT_FINITE = {"PS503": "x", "PS506": "mean", "PS508": "unit", "PS510": "x"}


def sections() -> list[tuple[str, str]]:
    """Each heading with the text below it."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def examples(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_codes_are_a_format_and_stay() -> None:
    counts = {"PS1": 5, "PS2": 6, "PS3": 7, "PS4": 4, "PS5": 10}
    assert [*CODES] == [
        f"{kind}{number:02}"
        for kind, count in counts.items()
        for number in range(1, count + 1)
    ]


def test_every_code_once_in_order_with_its_title() -> None:
    expected = [f"{code} {known.title}" for code, known in CODES.items()]
    assert [heading for heading, _ in sections()] == expected


def test_each_says_its_severity_an_example_and_a_fix() -> None:
    for heading, text in sections():
        severity = CODES[heading.split()[0]].severity
        assert text.strip().startswith(f"*{severity.capitalize()}.* "), heading
        assert examples(text), heading
        assert "\nFix: " in text, heading


def test_the_examples_run() -> None:
    start = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    (preface,) = examples(start)
    for heading, text in sections():
        if heading.startswith("PS205"):
            pytest.importorskip("tensorflow")  # Keras builds lookup layers with it
        for example in examples(text):
            with keras_may_warn():
                names: dict[str, object] = {}
                exec(compile(preface + example, heading, "exec"), names)
            if heading[:5] in MADE_NOT_FINITE:
                made = keras.ops.convert_to_numpy(names[MADE_NOT_FINITE[heading[:5]]])
                assert not np.isfinite(made).all(), heading
            if heading.startswith("PS1"):
                report = names["report"]
                assert [f"{f.code} {f.title}" for f in report] == [heading]  # type: ignore[attr-defined]


def test_names_on_the_page_are_ours() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in set(re.findall(r"\bMasked\w+|\bExtendable\w+|\bKeepMask", text)):
        rooms = (keras_padsafe.layers, keras_padsafe.losses)
        assert any(hasattr(room, name) for room in rooms), name
    for name in ("check_ids", "check_weights"):
        assert callable(getattr(keras_padsafe.audit, name))
        assert f"`{name}`" in text
