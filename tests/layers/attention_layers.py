"""The three attention layers behind one signature, for tests of what they share."""

import inspect

import keras
import numpy as np
import pytest

import keras_padsafe as kp

DIM = 6
HEADS = 4
KNOWN = inspect.signature(keras.layers.MultiHeadAttention.__init__).parameters
GATE = {"use_gate": True} if "use_gate" in KNOWN else {}


def needs(argument):
    """Skips a test of what the attention layer of an earlier Keras does not have."""
    reason = f"this Keras has no {argument}; what ours say is in test_versions.py"
    return pytest.mark.skipif(argument not in KNOWN, reason=reason)


def multi_head(**options):
    return kp.layers.MaskedMultiHeadAttention(num_heads=HEADS, key_dim=3, **options)


def grouped_query(**options):
    return kp.layers.MaskedGroupedQueryAttention(
        head_dim=3, num_query_heads=HEADS, num_key_value_heads=2, **options
    )


class Listed(keras.layers.Layer):
    """`MaskedAttention`, called like the other two."""

    def __init__(self, **options):
        super().__init__()
        self.attention = kp.layers.MaskedAttention(use_scale=True, **options)
        self.supports_masking = True

    def build(self, query_shape, value_shape, key_shape=None):
        self.attention.build([query_shape, value_shape])

    def call(
        self,
        query,
        value,
        key=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        **options,
    ):
        masks = [query_mask, value_mask]
        masks += [] if key is None else [key_mask]
        inputs = [x for x in (query, value, key) if x is not None]
        return self.attention(inputs, mask=masks, **options)

    def compute_output_spec(self, query, value, key=None, **options):
        return keras.KerasTensor(query.shape, dtype=self.compute_dtype)


def concat(**options):
    return Listed(score_mode="concat", **options)


LAYERS = {
    "MultiHead": multi_head,
    "GroupedQuery": grouped_query,
    "Attention": Listed,
    "ConcatAttention": concat,
}
PROJECTED = {"MultiHead": multi_head, "GroupedQuery": grouped_query}


def numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32"))


def tokens(batch=3, time=4, dim=DIM, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, time, dim)).astype("float32")
