"""Small presets of KerasHub, each with a tokenizer of its kind."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_hub
import pytest

models = keras_hub.models
STEPS = 6
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIALS, "the", "quick", "fox", "##es", "dog", "ran", "far", "off"]
TEXT = ["the quick brown fox", "the earth is round", "an old dog ran far off the road"]
SMALL: dict[str, Any] = {"num_layers": 1, "hidden_dim": 4, "intermediate_dim": 8}


def bert(size: int = len(WORDS)) -> Any:
    return models.BertBackbone(
        vocabulary_size=size, num_heads=2, max_sequence_length=STEPS, **SMALL
    )


def words(**options: Any) -> Any:
    return models.BertTokenizer(WORDS, lowercase=True, **options)


def pieces(size: int = 30, **options: Any) -> bytes:
    """A SentencePiece model, trained."""
    sentencepiece = pytest.importorskip("sentencepiece")
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 3),
        model_writer=made,
        vocab_size=size,
        minloglevel=2,
        **options,
    )
    return made.getvalue()


def backbone(folder: Path) -> None:
    """Only a backbone: no words."""
    bert().save_to_preset(str(folder))


def backbone_and_tokenizer(folder: Path) -> None:
    bert().save_to_preset(str(folder))
    words().save_to_preset(str(folder))


def special_tokens_in_text(folder: Path) -> None:
    bert().save_to_preset(str(folder))
    words(special_tokens_in_strings=True).save_to_preset(str(folder))


def classifier(folder: Path) -> None:
    preprocessor = models.BertTextClassifierPreprocessor(words(), sequence_length=STEPS)
    task = models.BertTextClassifier(bert(), num_classes=3, preprocessor=preprocessor)
    task.save_to_preset(str(folder))


def classifier_written_twice(folder: Path) -> None:
    """As KerasHub before 0.29 writes it: the file of the task holds all of it."""
    classifier(folder)
    task = models.BertTextClassifier.from_preset(str(folder))
    task.save_weights(str(folder / "task.weights.h5"))


def masked_words(folder: Path) -> None:
    preprocessor = models.BertMaskedLMPreprocessor(
        words(), sequence_length=STEPS, mask_selection_length=2
    )
    models.BertMaskedLM(bert(), preprocessor=preprocessor).save_to_preset(str(folder))


def gpt2(folder: Path) -> None:
    """Byte pairs; the head is the table."""
    ids = {word: n for n, word in enumerate(["<|endoftext|>", *"abcdefgh", "Ġ", "ab"])}
    tokenizer = models.GPT2Tokenizer(ids, ["a b"])
    body = models.GPT2Backbone(
        vocabulary_size=len(ids), num_heads=2, max_sequence_length=STEPS, **SMALL
    )
    preprocessor = models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=STEPS)
    models.GPT2CausalLM(body, preprocessor).save_to_preset(str(folder))


def roberta_in_shards(folder: Path) -> None:
    specials = ["<s>", "<pad>", "</s>", "<mask>"]
    ids = {word: n for n, word in enumerate([*specials, *"abcdefgh", "ab", "Ġ", "Ġa"])}
    body = models.RobertaBackbone(
        vocabulary_size=len(ids), num_heads=2, max_sequence_length=STEPS, **SMALL
    )
    tokenizer = models.RobertaTokenizer(ids, ["a b", "Ġ a"])
    preprocessor = models.RobertaMaskedLMPreprocessor(
        tokenizer, sequence_length=STEPS, mask_selection_length=2
    )
    task = models.RobertaMaskedLM(body, preprocessor)
    task.save_to_preset(str(folder), max_shard_size=5e-7)


def gemma(folder: Path) -> None:
    """SentencePiece, beside a table with rows to spare."""
    names = {"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>"}
    options = {f"{key}_piece": piece for key, piece in names.items()}
    ids = {f"{key}_id": number for number, key in enumerate(names)}
    tokenizer = models.GemmaTokenizer(proto=pieces(**options, **ids))
    body = models.GemmaBackbone(
        vocabulary_size=31,
        num_query_heads=2,
        num_key_value_heads=1,
        head_dim=2,
        **SMALL,
    )
    preprocessor = models.GemmaCausalLMPreprocessor(tokenizer, sequence_length=STEPS)
    models.GemmaCausalLM(body, preprocessor).save_to_preset(str(folder))


def llama(folder: Path) -> None:
    """SentencePiece that merges byte pairs."""
    proto = pieces(model_type="bpe", unk_id=0, bos_id=1, eos_id=2)
    models.LlamaTokenizer(proto=proto).save_to_preset(str(folder))
    body = models.LlamaBackbone(
        vocabulary_size=30, num_query_heads=2, num_key_value_heads=1, **SMALL
    )
    body.save_to_preset(str(folder))


def xlm_roberta(folder: Path) -> None:
    """SentencePiece with other ids than its file, and a mask behind the last."""
    tokenizer = models.XLMRobertaTokenizer(proto=pieces(unk_id=0, bos_id=1, eos_id=2))
    body = models.XLMRobertaBackbone(
        vocabulary_size=32, num_heads=2, max_sequence_length=STEPS, **SMALL
    )
    preprocessor = models.XLMRobertaMaskedLMPreprocessor(
        tokenizer, sequence_length=STEPS, mask_selection_length=2
    )
    models.XLMRobertaMaskedLM(body, preprocessor).save_to_preset(str(folder))


def clip(folder: Path) -> None:
    """Byte pairs of a class that fixes which tokens are never cut."""
    specials = ["<|startoftext|>", "<|endoftext|>"]
    made = [*"ab", "a</w>", "b</w>", "ab</w>", *specials]
    ids = {word: n for n, word in enumerate(made)}
    models.CLIPTokenizer(ids, ["a b</w>"]).save_to_preset(str(folder))
    bert(len(ids)).save_to_preset(str(folder))


PRESETS: dict[str, Callable[[Path], None]] = {
    made.__name__: made
    for made in (
        backbone,
        backbone_and_tokenizer,
        special_tokens_in_text,
        classifier,
        classifier_written_twice,
        masked_words,
        gpt2,
        roberta_in_shards,
        gemma,
        llama,
        xlm_roberta,
        clip,
    )
}
