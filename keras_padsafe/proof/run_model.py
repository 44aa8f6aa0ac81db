"""Runs a loaded model on the user's backend, leaving it as it was."""

from typing import Any

import numpy as np

from keras_padsafe.errors import message_of
from keras_padsafe.proof.load_models import ModelFailed

# Largest difference, relative to the largest output, that another order of the same
# sums can make.
_ROUNDING = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


def run_model(model: Any, batch: Any) -> list[np.ndarray]:
    """The outputs of a model, not training; narrow floats come as float32.

    Raises:
        ModelFailed: if it does not take the batch.
    """
    import keras

    try:
        with keras.StatelessScope():
            outputs = model(batch, training=False)
        leaves = keras.tree.flatten(outputs)
        return [as_numpy(output) for output in leaves if output is not None]
    except Exception as error:
        raise ModelFailed(_with_hint(error, batch)) from error


def _with_hint(error: Exception, batch: Any) -> str:
    import keras

    values = keras.tree.flatten(batch)
    takes_text = any(np.asarray(value).dtype.kind == "O" for value in values)
    backend = keras.backend.backend()
    if takes_text and backend != "tensorflow":
        return (
            f"The model takes text, which Keras does not run on {backend}. Set "
            f"KERAS_BACKEND=tensorflow and verify again. Keras: {message_of(error)}"
        )
    return f"The model does not take the batch made for it: {message_of(error)}"


def tolerance(model: Any) -> float:
    """Largest difference that another order of the same sums can make in a model."""
    from keras_padsafe.compat import inner_layers

    dtypes = {str(layer.compute_dtype) for layer in inner_layers(model)}
    return max(_ROUNDING.get(name, 1e-5) for name in dtypes)


def as_numpy(value: Any) -> np.ndarray:
    """A tensor as NumPy: text as `str`, floats that NumPy lacks as float32."""
    import keras

    if not isinstance(value, np.ndarray):
        if "float16" in keras.backend.standardize_dtype(value.dtype):
            value = keras.ops.cast(value, "float32")
        value = np.asarray(keras.ops.convert_to_numpy(value))
    if value.dtype.kind not in "OSU":
        return value
    texts = [v.decode() if isinstance(v, bytes) else v for v in value.ravel()]
    return np.array(texts, object).reshape(value.shape)
