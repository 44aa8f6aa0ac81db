"""A case of the table of defects: one function, run with Keras and with ours."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

import keras_padsafe as kp
from keras_padsafe.compat import set_keras_mask

Run = Callable[[Any], str]
PAD_LABEL = -1

STOCK = SimpleNamespace(
    MultiHead=keras.layers.MultiHeadAttention,
    Grouped=keras.layers.GroupQueryAttention,
    Attention=keras.layers.Attention,
    Softmax=keras.layers.Softmax,
    Average=keras.layers.GlobalAveragePooling1D,
    Max=keras.layers.GlobalMaxPooling1D,
    Conv1D=keras.layers.Conv1D,
    Embedding=lambda *a, **k: keras.layers.Embedding(*a, mask_zero=True, **k),
    attention=keras.ops.dot_product_attention,
    double=lambda x: 2 * x,
    add=lambda *tensors: keras.layers.Add()([*tensors]),
    concatenate=lambda *tensors: keras.layers.Concatenate()([*tensors]),
    table=keras.initializers.Constant,
    loss=lambda loss: keras.losses.get(loss),
    metric=lambda metric: metric,
)
OURS = SimpleNamespace(
    MultiHead=kp.layers.MaskedMultiHeadAttention,
    Grouped=kp.layers.MaskedGroupedQueryAttention,
    Attention=kp.layers.MaskedAttention,
    Softmax=kp.layers.MaskedSoftmax,
    Average=kp.layers.MaskedGlobalAveragePooling1D,
    Max=kp.layers.MaskedGlobalMaxPooling1D,
    Conv1D=kp.layers.MaskedConv1D,
    Embedding=lambda *a, **k: kp.layers.ExtendableEmbedding(*a, **{"pad_id": 0, **k}),
    attention=kp.ops.masked_attention,
    double=lambda x: kp.layers.KeepMask()([2 * x, x]),
    add=lambda *tensors: kp.layers.MaskedAdd()([*tensors]),
    concatenate=lambda *tensors: kp.layers.KeepMask()(
        [keras.layers.Concatenate()([*tensors]), tensors[0]]
    ),
    table=lambda matrix: kp.initializers.ConcatenatedRows([matrix]),
    loss=lambda loss: kp.losses.MaskedLoss(loss, pad_label=PAD_LABEL),
    metric=lambda metric: kp.metrics.MaskedMetric(metric, pad_label=PAD_LABEL),
)
CASES: list[tuple[str, str, Run]] = []


def case(title: str, room: str) -> Callable[[Run], Run]:
    """Puts a function into the table."""

    def register(function: Run) -> Run:
        CASES.append((room, title, function))
        return function

    return register


def tokens(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def numpy(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def masked(x: np.ndarray, mask: Any) -> Any:
    tensor = keras.ops.convert_to_tensor(x)
    set_keras_mask(tensor, keras.ops.convert_to_tensor(mask))
    return tensor


def apart(first: Any, second: Any) -> str:
    distance = np.abs(numpy(first) - numpy(second)).max()
    return "equal" if distance < 1e-5 else f"differ by {distance:.1g}"


def finite(x: Any) -> str:
    x = numpy(x)
    if np.isfinite(x).all():
        return "finite"
    return "NaN" if np.isnan(x).any() else "infinite"
