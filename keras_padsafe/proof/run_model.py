"""Loads a saved model and runs it on the user's backend."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.proof.certificate import Check
from keras_padsafe.saved_model.layer_node import LayerNode

# Largest difference, relative to the largest output, that another order of the same
# sums can make.
_ROUNDING = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}

Sample = Callable[[str, tuple[int | None, ...], str], Any]
"""Makes values for one input from its name, its shape and its dtype."""


class ModelFailed(Exception):
    """A model could not be loaded or run; the message is for a check."""


def load_model(path: str | os.PathLike[str]) -> tuple[Any, list[str]]:
    """A saved model and what Keras warned of while it loaded.

    Raises:
        ModelFailed: if Keras cannot load it.
    """
    import keras

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = keras.models.load_model(path)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ModelFailed(f"{type(error).__name__}: {lines[0][:300]}") from error
    return model, [str(warning.message) for warning in caught]


@dataclass(frozen=True)
class LoadedPair:
    """A model before and after a change of its file.

    Attributes:
        before: The model of the file before.
        after: The model of the file after.
        unread_before: What Keras said if it left the optimizer's state before unread.
        unread_after: The same of the state after.
    """

    before: Any
    after: Any
    unread_before: str | None
    unread_after: str | None


def load_pair(
    source: str | os.PathLike[str], target: str | os.PathLike[str]
) -> tuple[Check, LoadedPair | None]:
    """Loads two files to compare them; `None` if one of them cannot be loaded."""
    name = "loads in Keras"
    # The new file first: in a new process, Keras has then given no names yet, as it
    # will be for whoever uses the file.
    try:
        new: tuple[Any, list[str]] | ModelFailed = load_model(target)
    except ModelFailed as error:
        new = error
    try:
        before, usual = load_model(source)
    except ModelFailed as error:
        return Check(name, "skipped", f"the file before does not: {error}"), None
    if isinstance(new, ModelFailed):
        return Check(name, "failed", str(new)), None
    after, messages = new
    pair = LoadedPair(
        before, after, _state_left_unread(usual), _state_left_unread(messages)
    )
    return Check(name, "passed", f"as {type(after).__name__}"), pair


def _state_left_unread(messages: list[str]) -> str | None:
    """What Keras said when it left an optimizer's state unread."""
    said = [text for text in messages if "Skipping variable loading" in text]
    return said[0].splitlines()[0][:300] if said else None


def make_batch(model: Any, root: LayerNode, sample: Sample) -> Any:
    """A batch in the structure in which the model takes its inputs.

    Args:
        model: The loaded model.
        root: The same as the file describes it.
        sample: Makes the values of one input.

    Raises:
        ModelFailed: if the file does not say what the inputs are.
    """
    import keras

    return keras.tree.map_structure(
        lambda spec: sample(*spec.described), _inputs(model, root)
    )


def run_model(model: Any, batch: Any) -> list[np.ndarray]:
    """The outputs of a model, not training; narrow floats come as float32.

    Raises:
        ModelFailed: if it does not take the batch.
    """
    import keras

    if keras.backend.backend() != "tensorflow" and any(
        isinstance(value, np.ndarray) and value.dtype.kind == "O"
        for value in keras.tree.flatten(batch)
    ):
        raise ModelFailed("the model takes text, which only TensorFlow can run")
    try:
        outputs = model(batch, training=False)
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        raise ModelFailed(
            f"no batch could be made for it: {type(error).__name__}: {lines[0][:200]}"
        ) from error
    return [
        keras.ops.convert_to_numpy(_as_float(output))
        for output in keras.tree.flatten(outputs)
    ]


def tolerance(model: Any) -> float:
    """Largest difference that another order of the same sums can make in a model."""
    dtype = getattr(model, "compute_dtype", "float32")
    narrow = [
        str(getattr(layer, "compute_dtype", dtype))
        for layer in getattr(model, "layers", [])
    ]
    return max(_ROUNDING.get(name, 1e-5) for name in [str(dtype), *narrow])


class _Spec:
    """Name, shape and dtype of an input, as one leaf of a structure."""

    def __init__(self, name: str, shape: tuple[int | None, ...], dtype: str) -> None:
        self.described = (name, shape, dtype)


def _inputs(model: Any, root: LayerNode) -> Any:
    import keras

    symbolic = _symbolic_inputs(model)
    if symbolic is not None:
        return keras.tree.map_structure(
            lambda t: _Spec(t.name, tuple(t.shape), str(t.dtype)), symbolic
        )
    shape = (root.serialized.get("build_config") or {}).get("input_shape")
    if isinstance(shape, list) and all(d is None or isinstance(d, int) for d in shape):
        return _Spec("input_ids", tuple(shape), "int32")
    if isinstance(shape, dict):
        return {name: _Spec(name, tuple(dims), "int32") for name, dims in shape.items()}
    raise ModelFailed("config.json does not say what inputs the model takes")


def _symbolic_inputs(model: Any) -> Any:
    """The inputs in the structure in which the model takes them, if it knows them."""
    try:
        return model.input
    except AttributeError:  # A Sequential model that was never called has a list only.
        inputs = getattr(model, "inputs", None)
        return inputs[0] if inputs and len(inputs) == 1 else None


def _as_float(output: Any) -> Any:
    import keras

    dtype = keras.backend.standardize_dtype(output.dtype)
    return keras.ops.cast(output, "float32") if "float16" in dtype else output
