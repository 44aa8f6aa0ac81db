"""The fused attention kernel of each backend, where it gives the right answer.

The one file of `ops` that knows which backend runs, for two reasons. Keras turns
a boolean mask into an additive one for PyTorch, which in float16 lets a masked
key with a large score win and makes a copy of the mask in floats; PyTorch's own
function takes booleans. And TensorFlow has no fused kernel: Keras falls back to
arithmetic that overflows in float16, so we use our own.
"""

from typing import Any

import keras
from keras import ops

from keras_padsafe.ops.attention_masks import real_rows
from keras_padsafe.types import Tensor


def can_fuse(query: Tensor, value: Tensor) -> bool:
    """Whether the running backend has a kernel for these tensors.

    For the tensors of a model under construction there is none: only the ops of
    Keras can be recorded.
    """
    if keras.backend.is_keras_tensor(query):
        return False
    if keras.backend.backend() == "jax":
        # On a CPU its kernel is slower than our arithmetic, and asks for products
        # of float16 that XLA does not have.
        return query.shape[-1] == value.shape[-1] and _device() != "cpu"
    return keras.backend.backend() == "torch"


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    bias: Tensor | None,
    scale: float,
    is_causal: bool,
    flash_attention: bool | None,
) -> Tensor:
    """Attention of `(batch, time, heads, head_dim)` tensors.

    The rows of the output that have nothing to attend to are undefined, and
    finite.
    """
    if keras.backend.backend() == "torch" and not flash_attention:
        return _torch(query, key, value, mask, bias, scale, is_causal)
    if mask is not None and _device() == "tpu":
        # There, Keras takes the mask of the first sample for the whole batch.
        flash_attention = False
    return ops.dot_product_attention(
        query,
        key,
        value,
        bias=bias,
        mask=mask,
        scale=scale,
        is_causal=is_causal,
        flash_attention=flash_attention,
    )


def _torch(
    query: Any, key: Any, value: Any, mask: Any, bias: Any, scale: float, causal: bool
) -> Any:
    import torch
    from torch.nn import functional

    if mask is not None:
        # Not every kernel defines a softmax over nothing.
        mask = mask | ~real_rows(mask)[..., None]
    if bias is not None and mask is not None:
        mask = bias.masked_fill(~mask, float("-inf"))
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    grouped = bool(query.shape[1] != key.shape[1])
    if grouped and torch.onnx.is_in_onnx_export():  # ONNX has no groups of heads.
        repeats = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
        grouped = False
    output = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=bias if mask is None else mask,
        is_causal=causal,
        scale=scale,
        enable_gqa=grouped,
    )
    return output.transpose(1, 2)


def _device() -> str:
    """Returns the kind of device that computes: "cpu", "gpu" or "tpu"."""
    if keras.backend.backend() != "jax":
        return ""
    return keras.distribution.list_devices()[0].partition(":")[0]
