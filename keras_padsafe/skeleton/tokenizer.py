"""A tokenizer of KerasHub, built to see which id it gives each word."""

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_padsafe.compat import ObjectSharingScope, SafeModeScope, own_global_state
from keras_padsafe.errors import message_of
from keras_padsafe.skeleton.build import NotBuilt


@dataclass(frozen=True)
class BuiltTokenizer:
    """What a tokenizer says of itself.

    Attributes:
        ids: The id of each word.
        special: The words that it takes for itself, as padding and unknown words.
        config: What `save_to_preset` would write of it.
    """

    ids: dict[str, int]
    special: frozenset[str]
    config: dict[str, Any]


def build_tokenizer(
    config: dict[str, Any], files: Mapping[str, bytes]
) -> BuiltTokenizer:
    """Builds a tokenizer from its serialized form and its files of words, by name.

    Raises:
        NotBuilt: if KerasHub cannot build it.
    """
    with tempfile.TemporaryDirectory(prefix="keras_padsafe_") as folder:
        for name, contents in files.items():
            Path(folder, name).write_bytes(contents)
        try:
            with own_global_state():
                with ObjectSharingScope(), SafeModeScope(True):
                    made = keras.saving.deserialize_keras_object(copy.deepcopy(config))
                made.load_assets(folder)
            ids = {word: int(made.token_to_id(word)) for word in made.get_vocabulary()}
            written = made.get_config()
            special = {*made.special_tokens, written.get("oov_token")} - {None}
            return BuiltTokenizer(ids, frozenset(special), written)
        except Exception as error:
            raise NotBuilt(message_of(error)) from error
