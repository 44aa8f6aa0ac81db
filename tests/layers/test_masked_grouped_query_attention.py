"""Groups: what is `MaskedGroupedQueryAttention`'s own."""

import numpy as np
import pytest

import keras_padsafe as kp
from tests.layers.attention_layers import needs, numpy, tokens

REAL = np.arange(4) < np.array([[4], [2], [0]])


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("gate", [False, pytest.param(True, marks=needs("use_gate"))])
def test_it_equals_multi_head_attention_with_its_keys_repeated(groups, gate):
    grouped = kp.layers.MaskedGroupedQueryAttention(3, 4, groups, use_gate=gate)
    full = kp.layers.MaskedGroupedQueryAttention(3, 4, 4, use_gate=gate)
    x = tokens()
    masks = {"query_mask": REAL, "value_mask": REAL, "use_causal_mask": True}
    output = numpy(grouped(x, x, **masks))
    full(x, x)
    repeated = []
    for ours, theirs in zip(grouped.weights, full.weights, strict=True):
        value = np.asarray(numpy(ours.value))
        if value.shape != tuple(theirs.shape):
            value = np.repeat(value, 4 // groups, axis=-2)
        repeated.append(value)
    full.set_weights(repeated)
    np.testing.assert_allclose(output, numpy(full(x, x, **masks)), atol=1e-6)


def test_a_mask_for_each_head_hides_poison_from_the_heads_it_names():
    layer, x = kp.layers.MaskedGroupedQueryAttention(3, 4, 2), tokens(batch=1)
    allowed = np.ones((1, 4, 4, 4), bool)
    allowed[..., 3] = False
    dirty = x.copy()
    dirty[:, 3] = np.nan
    output = numpy(layer(x, dirty, attention_mask=allowed))
    expected = numpy(layer(x, x[:, :3]))
    np.testing.assert_allclose(output, expected, atol=1e-6)
