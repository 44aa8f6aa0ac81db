"""The files of tokenizers, against the packages that read them."""

import json
import random
from typing import Any

import pytest

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.word_files import WORD_FILES

from .reference import only_once

sentencepiece = pytest.importorskip("sentencepiece")

from .presets import TEXT, pieces  # noqa: E402

pytestmark = only_once
SPM, IDS = WORD_FILES["vocabulary.spm"], WORD_FILES["vocabulary.json"]
KINDS: dict[str, dict[str, Any]] = {
    "unigram": {},
    "bpe": {"model_type": "bpe"},
    "bytes": {"byte_fallback": True, "size": 280},
    "own": {"user_defined_symbols": ["<a>", "b c"], "control_symbols": ["<z>"]},
}


def processor(model: bytes) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def listed(model: bytes) -> list[str]:
    made = processor(model)
    return [made.IdToPiece(id_) for id_ in range(made.vocab_size())]


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_those_of_sentencepiece(kind: str) -> None:
    model = pieces(**KINDS[kind])
    words = SPM.read(model)
    assert words is not None
    assert list(words) == listed(model)
    assert SPM.write(model, words) == model


@pytest.mark.parametrize("kind", KINDS)
def test_new_pieces_are_found_whole_in_text(kind: str) -> None:
    model = pieces(**KINDS[kind])
    old = listed(model)
    grown = SPM.write(model, [*old, "<tool>", "größe"])
    before, after = processor(model), processor(grown)
    assert listed(grown) == [*old, "<tool>", "größe"]
    for text in [*TEXT, "nothing of it", "<too l> gross", "größ"]:
        assert before.Encode(text) == after.Encode(text)
    for new, word in enumerate(["<tool>", "größe"], len(old)):
        assert after.Encode(f"the{word}dog").count(new) == 1
        assert after.Decode(after.Encode(f"the{word}dog")) == f"the{word}dog"
    assert SPM.write(grown, old) == model


def test_other_pieces_are_refused() -> None:
    model = pieces()
    with pytest.raises(SurgeryError, match="keeps the order of its pieces"):
        SPM.write(model, ["other", *listed(model)[1:]])


def test_bytes_that_are_no_model_are_refused_or_read() -> None:
    """Never an error of another kind, whatever the bytes."""
    model, chance = pieces(), random.Random(0)
    with pytest.raises(SurgeryError, match=r"vocabulary\.spm is no SentencePiece"):
        SPM.read(model[:-1])
    refused = 0
    for _ in range(2000):
        mutant = bytearray(model[: chance.randrange(1, len(model))])
        for _ in range(chance.randrange(4)):
            mutant[chance.randrange(len(mutant))] = chance.randrange(256)
        try:
            SPM.read(bytes(mutant))
        except SurgeryError:
            refused += 1
    assert refused > 1000


def test_ids_of_byte_pairs() -> None:
    text = json.dumps({"b": 1, "a": 0, "ü": 2}).encode()
    assert IDS.read(text) == ("a", "b", "ü")
    grown = IDS.write(text, ["a", "b", "ü", "<tool>"])
    assert json.loads(grown) == {"b": 1, "a": 0, "ü": 2, "<tool>": 3}
    assert IDS.write(grown, ["a", "b", "ü"]) == text
    assert IDS.read(b'{"a": 0, "b": 2}') is None
    assert IDS.read(b'{"a": 0, "b": 0}') is None
    with pytest.raises(SurgeryError, match="Byte pairs keep their ids"):
        IDS.write(text, ["b", "a", "ü"])
    with pytest.raises(SurgeryError, match="gives 'a' no number"):
        IDS.read(b'{"a": "0"}')
