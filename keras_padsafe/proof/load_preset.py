"""Loads a preset as whoever keeps it does: by `from_preset` of its class."""

import json
import os
from typing import Any

from keras_padsafe.archive import open_archive


def is_preset(path: str | os.PathLike[str]) -> bool:
    """Whether a path is the folder of a KerasHub preset."""
    if not os.path.isdir(path):
        return False
    with open_archive(path) as archive:
        return archive.kind == "preset"


def load_preset(path: str | os.PathLike[str]) -> Any:
    """The task of a preset, where it has one, else its backbone; in the types saved.

    Raises:
        ValueError: if Keras does not know the class, or as KerasHub does.
    """
    import keras
    import keras_hub

    with open_archive(path) as archive:
        config = archive.config or {}
    name = config.get("registered_name")
    model_class = keras.saving.get_registered_object(name)
    if model_class is None:
        if name != "Functional":
            raise ValueError(f"Could not locate class '{name}'.")
        model_class = keras_hub.models.Backbone
    inner = config.get("config") or {}
    held = (inner.get("backbone") or {}).get("config") or inner
    dtype = held.get("dtype")
    if isinstance(dtype, dict):
        dtype = keras.dtype_policies.deserialize(dtype)
    # A name that is no path might be one that KerasHub would fetch.
    return model_class.from_preset(os.path.abspath(path), dtype=dtype)


def preset_tokenizer(path: str | os.PathLike[str]) -> list[Any]:
    """The tokenizer that a preset holds, if it holds one."""
    import keras

    if not is_preset(path) or not os.path.exists(os.path.join(path, "tokenizer.json")):
        return []
    with open(os.path.join(path, "tokenizer.json"), encoding="utf-8") as file:
        config = json.load(file)
    made = keras.saving.deserialize_keras_object(config)
    made.load_preset_assets(os.path.abspath(path))
    return [made]
