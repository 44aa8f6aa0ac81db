"""Every example in a docstring runs, and prints what it says."""

import doctest
import importlib
import pkgutil
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_padsafe


def modules() -> list[str]:
    found = pkgutil.walk_packages(keras_padsafe.__path__, "keras_padsafe.")
    return sorted(m.name for m in found if not m.name.endswith("__main__"))


@pytest.mark.parametrize("name", modules())
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"keras": keras, "keras_padsafe": keras_padsafe, "np": np}
    results = doctest.testmod(
        importlib.import_module(name),
        extraglobs=names,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
    )
    assert results.failed == 0
