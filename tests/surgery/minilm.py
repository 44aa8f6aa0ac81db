"""Maps a pretrained sentence encoder, one to one, onto a KerasHub backbone."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 arrays of a safetensors file: a JSON header, then the bytes."""
    contents = path.read_bytes()
    start = 8 + int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8:start])
    arrays: dict[str, np.ndarray] = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            first, last = (start + offset for offset in entry["data_offsets"])
            values = np.frombuffer(contents[first:last], "<f4")
            arrays[name] = values.reshape(entry["shape"])
    return arrays


def build(folder: Path) -> Any:
    """The encoder as a `keras_hub.models.BertBackbone`, with its weights.

    Args:
        folder: Holds `model.safetensors`, as the package brings it.
    """
    import keras_hub

    arrays = read_safetensors(folder / "model.safetensors")
    model = keras_hub.models.BertBackbone(
        vocabulary_size=30522,
        num_layers=6,
        num_heads=12,
        hidden_dim=384,
        intermediate_dim=1536,
        max_sequence_length=512,
    )
    table, positions, types = (
        arrays[f"embeddings.{name}_embeddings.weight"]
        for name in ("word", "position", "token_type")
    )
    model.get_layer("token_embedding").set_weights([table])
    model.get_layer("position_embedding").set_weights([positions])
    model.get_layer("segment_embedding").set_weights([types])
    model.get_layer("embeddings_layer_norm").set_weights(
        _pair(arrays, "embeddings.LayerNorm")
    )
    model.get_layer("pooled_dense").set_weights(_dense(arrays, "pooler.dense"))
    for number in range(6):
        layer = model.get_layer(f"transformer_layer_{number}")
        layer.set_weights(_block(arrays, f"encoder.layer.{number}"))
    return model


def _block(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    """One block's arrays in the order of `TransformerEncoder.weights`."""
    heads, size = 12, 32
    found: list[np.ndarray] = []
    for part in ("query", "key", "value"):
        kernel, bias = _dense(arrays, f"{prefix}.attention.self.{part}")
        found += [kernel.reshape(-1, heads, size), bias.reshape(heads, size)]
    kernel, bias = _dense(arrays, f"{prefix}.attention.output.dense")
    found += [kernel.reshape(heads, size, -1), bias]
    found += _pair(arrays, f"{prefix}.attention.output.LayerNorm")
    found += _dense(arrays, f"{prefix}.intermediate.dense")
    found += _dense(arrays, f"{prefix}.output.dense")
    return found + _pair(arrays, f"{prefix}.output.LayerNorm")


def _pair(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    return [arrays[f"{prefix}.weight"], arrays[f"{prefix}.bias"]]


def _dense(arrays: dict[str, np.ndarray], prefix: str) -> list[np.ndarray]:
    """PyTorch keeps a linear map as (out, in), Keras as (in, out)."""
    weight, bias = _pair(arrays, prefix)
    return [weight.T, bias]
