"""Which backend a command runs on."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keras_padsafe.cli.command import Failure
from keras_padsafe.cli.keras_session import (
    keras_session,
    settle_backend,
    surgery_session,
)

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def only(*names: str) -> None:
        found = {name: True for name in names}
        monkeypatch.setattr(importlib.util, "find_spec", found.get)

    return only


def test_the_one_asked_for(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("jax", "torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert settle_backend().name == "torch"


def test_the_one_of_keras_json(install: Install, tmp_path: Path) -> None:
    install("jax", "torch")
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    assert settle_backend().name == "torch"


def test_the_one_installed(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keras writes "tensorflow" into keras.json unasked, on any machine."""
    install("torch")
    with keras_session():
        assert os.environ["KERAS_BACKEND"] == "torch"
    assert capsys.readouterr().err == "KERAS_BACKEND is not set; running on torch.\n"


def test_none_installed(install: Install) -> None:
    install()
    with pytest.raises(Failure, match="pip install"):
        settle_backend()


def test_what_a_model_prints_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    with keras_session():
        print("from a layer", file=sys.stdout)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "from a layer\n")


def test_surgery_says_nothing_of_the_backend(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("torch")
    with surgery_session():
        print("from a layer")
        assert os.environ["KERAS_BACKEND"] == "torch"
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "from a layer\n")


def test_surgery_needs_no_backend_until_it_imports_keras(install: Install) -> None:
    install()
    with surgery_session():
        pass
    with pytest.raises(Failure, match="pip install"), surgery_session():
        raise ModuleNotFoundError("No module named 'tensorflow'")


@pytest.mark.parametrize("line", ["import no_such", "1 / 0", "raise SystemExit(0)"])
def test_a_module_that_fails(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_layers.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(Failure, match="--import failing_layers: it could not"),
        surgery_session(("failing_layers",)),
    ):
        pass
