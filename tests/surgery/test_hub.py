"""KerasHub: backbones, tasks, tokenizers, and its layers in models of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError

from .reference import (
    as_float64,
    assert_old_outputs,
    assert_old_rows_kept,
    assert_plan_is_exact,
    assert_same_structure,
    only_once,
    save,
)
from .saved import read
from .zoo import ADDED, DIM, GROWN, SIZE, ids

pytestmark = pytest.mark.usefixtures("quick_compile")

keras_hub = pytest.importorskip("keras_hub")

STEPS = 6
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIALS, "the", "quick", "fox", "##es", "dog", "ran", "far", "off"]
NEW_WORDS = ["zebra", "##ing", "yak"]


def _bert(size: int, steps: int = STEPS) -> keras.Model:
    return keras_hub.models.BertBackbone(
        vocabulary_size=size,
        num_layers=1,
        num_heads=2,
        hidden_dim=DIM,
        intermediate_dim=8,
        max_sequence_length=steps,
    )


def _gpt2(size: int) -> keras.Model:
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=size,
        num_layers=1,
        num_heads=2,
        hidden_dim=DIM,
        intermediate_dim=8,
        max_sequence_length=STEPS,
    )


def _llama(size: int) -> keras.Model:
    return keras_hub.models.LlamaBackbone(
        vocabulary_size=size,
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=1,
        hidden_dim=DIM,
        intermediate_dim=8,
    )


def _gemma(size: int) -> keras.Model:
    return keras_hub.models.GemmaBackbone(
        vocabulary_size=size,
        num_layers=1,
        num_query_heads=2,
        num_key_value_heads=1,
        head_dim=2,
        hidden_dim=DIM,
        intermediate_dim=8,
    )


def _distil_bert(size: int) -> keras.Model:
    return keras_hub.models.DistilBertBackbone(
        vocabulary_size=size,
        num_layers=1,
        num_heads=2,
        hidden_dim=DIM,
        intermediate_dim=8,
        max_sequence_length=STEPS,
    )


def _gpt2_language_model(size: int) -> keras.Model:
    return keras_hub.models.GPT2CausalLM(backbone=_gpt2(size), preprocessor=None)


def _llama_language_model(size: int) -> keras.Model:
    return keras_hub.models.LlamaCausalLM(backbone=_llama(size), preprocessor=None)


def _bert_masked_language_model(size: int) -> keras.Model:
    return keras_hub.models.BertMaskedLM(backbone=_bert(size), preprocessor=None)


def _bert_classifier(size: int) -> keras.Model:
    return keras_hub.models.BertTextClassifier(
        backbone=_bert(size), num_classes=SIZE, preprocessor=None
    )


def _tokenizer(size: int) -> Any:
    return keras_hub.models.BertTokenizer([*WORDS, *NEW_WORDS][:size], lowercase=True)


def _bert_with_tokenizer(size: int) -> keras.Model:
    preprocessor = keras_hub.models.BertMaskedLMPreprocessor(
        _tokenizer(size), sequence_length=STEPS, mask_selection_length=2
    )
    return keras_hub.models.BertMaskedLM(
        backbone=_bert(size), preprocessor=preprocessor
    )


def _own_masked_language_model(size: int, *, tied: bool = True) -> keras.Model:
    x = ids("ids", STEPS)
    places = keras.Input((2,), dtype="int32", name="places")
    embed = keras_hub.layers.TokenAndPositionEmbedding(size, STEPS, DIM, name="embed")
    block = keras_hub.layers.TransformerEncoder(8, 2, name="block")
    head = keras_hub.layers.MaskedLMHead(
        vocabulary_size=None if tied else size,
        token_embedding=embed.token_embedding if tied else None,
        name="masked_words",
    )
    scores = head(block(embed(x)), mask_positions=places)
    return keras.Model([x, places], scores)


def _untied_masked_language_model(size: int) -> keras.Model:
    return _own_masked_language_model(size, tied=False)


def _own_language_model(size: int) -> keras.Model:
    x = ids("ids", STEPS)
    h = keras_hub.layers.TokenAndPositionEmbedding(size, STEPS, DIM)(x)
    h = keras_hub.layers.TransformerDecoder(8, 2)(h)
    return keras.Model(x, layers.Dense(size)(h))


def _backbone_in_a_functional_model(size: int) -> keras.Model:
    backbone = _distil_bert(size)
    x = ids("token_ids", STEPS)
    mask = keras.Input((STEPS,), dtype="int32", name="padding_mask")
    h = backbone({"token_ids": x, "padding_mask": mask})
    return keras.Model([x, mask], layers.Dense(2)(h[:, 0]))


def _tied_masked_language_model(size: int) -> keras.Model:
    x = ids("ids", STEPS)
    places = keras.Input((2,), dtype="int32", name="places")
    words = keras_hub.layers.ReversibleEmbedding(size, DIM, name="words")
    head = keras_hub.layers.MaskedLMHead(token_embedding=words, name="masked_words")
    scores = head(layers.Dense(DIM)(words(x)), mask_positions=places)
    return keras.Model([x, places], scores)


MODELS: dict[str, Callable[[int], keras.Model]] = {
    "bert": _bert,
    "llama": _llama,
    "gemma": _gemma,
    "distil_bert": _distil_bert,
    "gpt2_language_model": _gpt2_language_model,
    "llama_language_model": _llama_language_model,
    "bert_masked_language_model": _bert_masked_language_model,
    "bert_classifier": _bert_classifier,
    "own_masked_language_model": _own_masked_language_model,
    "tied_masked_language_model": _tied_masked_language_model,
    "untied_masked_language_model": _untied_masked_language_model,
    "own_language_model": _own_language_model,
    "backbone_in_a_functional_model": _backbone_in_a_functional_model,
}


# KerasHub cannot load what it saved for a table held by another layer.
UNLOADABLE = "own_masked_language_model"
# A few to run: the first call of a transformer is slow where each operation is
# compiled on its own.
RUN = [
    "bert",
    "llama_language_model",
    "bert_masked_language_model",
    "tied_masked_language_model",
    "untied_masked_language_model",
    "backbone_in_a_functional_model",
]


@only_once
@pytest.mark.parametrize("name", MODELS)
def test_grows_as_keras_hub_would_build_it(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"
    save(MODELS[name], GROWN, larger)
    save(MODELS[name], SIZE, source, seed=2)
    proof = False if name == UNLOADABLE else None
    plan = kp.surgery.grow(source, target, rows=ADDED, proof=proof).plan
    old, new, reference = read(source), read(target), read(larger)
    assert_same_structure(new, reference)
    assert_plan_is_exact(plan, old, reference)
    assert_old_rows_kept(plan, old, new)


@pytest.mark.parametrize("name", RUN)
def test_old_ids_keep_their_outputs(name: str, tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    model = save(MODELS[name], SIZE, source)
    kp.surgery.grow(source, target, rows=ADDED)
    grown = keras.models.load_model(target, compile=False)
    x = _inputs(model)
    assert_old_outputs(model(x), grown(x), exact=False)
    made = keras.tree.flatten(grown(_inputs(model, GROWN)))
    assert all(np.isfinite(as_float64(output)).all() for output in made)


@only_once
def test_keras_hub_cannot_load_a_borrowed_table(tmp_path: Path) -> None:
    """If this fails, KerasHub has learnt it: move the model to those that run."""
    source = tmp_path / "old.keras"
    save(MODELS[UNLOADABLE], SIZE, source)
    with pytest.raises(ValueError, match="could not be loaded"):
        keras.models.load_model(source)


def _inputs(model: keras.Model, size: int = SIZE) -> Any:
    generator = np.random.default_rng(0)
    made = {}
    for tensor in model.inputs:
        shape = (3, *[dim or STEPS for dim in tensor.shape[1:]])
        most = {"padding_mask": 1, "segment_ids": 1}.get(tensor.name, size)
        low = 1 if tensor.name == "padding_mask" else 0
        if tensor.name in ("mask_positions", "places"):
            shape, most = (3, 2), STEPS
        made[tensor.name] = generator.integers(low, max(most, low + 1), shape).astype(
            "int32"
        )
    return made if len(made) > 1 else next(iter(made.values()))


def test_tokenizer_learns_the_words(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"
    save(_bert_with_tokenizer, GROWN, larger)
    save(_bert_with_tokenizer, SIZE, source)
    report = kp.surgery.grow(source, target, tokens=NEW_WORDS)
    new, reference = read(target), read(larger)
    assert_same_structure(new, reference)
    assert report.tokens == {"zebra": 13, "##ing": 14, "yak": 15}
    grown = keras.models.load_model(target, compile=False)
    tokenizer = grown.preprocessor.tokenizer
    assert tokenizer.token_to_id("yak") == 15
    assert list(np.asarray(tokenizer("the zebra foxing"))) == [5, 13, 7, 14]


@only_once
def test_word_that_the_tokenizer_has_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    save(_bert_with_tokenizer, SIZE, source)
    with pytest.raises(SurgeryError, match=r"already, for example \['fox'\]"):
        kp.surgery.grow(source, tmp_path / "new.keras", tokens=["fox", "yak"])


@only_once
def test_as_many_positions_as_ids(tmp_path: Path) -> None:
    """Only the names tell the two tables apart, and they do."""
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    larger = tmp_path / "larger.keras"
    save(lambda size: _bert(size, SIZE), GROWN, larger)
    save(lambda size: _bert(size, SIZE), SIZE, source)
    plan = kp.surgery.grow(source, target, rows=ADDED).plan
    assert_same_structure(read(target), read(larger))
    assert [item.path for item in plan.left_alone] == [
        "layers/position_embedding/vars/0"
    ]
