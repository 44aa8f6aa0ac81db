"""Which backend a command runs on."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from keras_padsafe.cli.command import Failure
from keras_padsafe.cli.keras_session import keras_session, settle_backend


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def only(*names: str) -> None:
        found = {name: True for name in names}
        monkeypatch.setattr(importlib.util, "find_spec", found.get)

    return only


def test_the_one_asked_for(install, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    install("jax", "torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert settle_backend().name == "torch"


def test_the_one_of_keras_json(install, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    install("jax", "torch")
    (tmp_path / "keras.json").write_text(json.dumps({"backend": "torch"}))
    assert settle_backend().name == "torch"


def test_the_one_installed(install, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    """Keras writes "tensorflow" into keras.json unasked, on any machine."""
    install("torch")
    assert settle_backend().name == "torch"
    assert capsys.readouterr().err == "KERAS_BACKEND is not set; running on torch.\n"


def test_none_installed(install) -> None:  # type: ignore[no-untyped-def]
    install()
    with pytest.raises(Failure, match="pip install"):
        settle_backend()


def test_what_a_model_prints_is_no_result(capsys: pytest.CaptureFixture[str]) -> None:
    with keras_session():
        print("from a layer", file=sys.stdout)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "from a layer\n")
