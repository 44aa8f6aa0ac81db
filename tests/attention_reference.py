"""Attention and its gradients in float64 NumPy, written out from the formula."""

import numpy as np


def reference_attention(query, key, value, allowed, scale, bias=0.0, upstream=None):
    """Attends, one head at a time, over the keys that `allowed` marks.

    Args:
        query: `(batch, query, heads, dim)`.
        key: `(batch, key, key_heads, dim)`.
        value: `(batch, key, key_heads, value_dim)`.
        allowed: Booleans, `(batch, heads, query, key)`.
        scale: Factor of the scores.
        bias: Added to them.
        upstream: d loss / d output; ones if `None`.

    Returns:
        Output, weights, and d loss / d query, key and value.
    """
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    batch, _, heads, _ = query.shape
    group = heads // key.shape[2]
    bias = np.broadcast_to(bias, allowed.shape)
    output = np.zeros((*query.shape[:3], value.shape[3]))
    weights = np.zeros(allowed.shape)
    upstream = np.ones_like(output) if upstream is None else upstream
    slopes = [np.zeros_like(x) for x in (query, key, value)]
    for b, n in np.ndindex(batch, heads):
        q, k, v = query[b, :, n], key[b, :, n // group], value[b, :, n // group]
        scores = scale * q @ k.T + bias[b, n]
        w = _softmax(scores, allowed[b, n])
        g = upstream[b, :, n]
        pull = g @ v.T
        slope = w * (pull - (w * pull).sum(-1, keepdims=True))
        output[b, :, n], weights[b, n] = w @ v, w
        slopes[0][b, :, n] = scale * slope @ k
        slopes[1][b, :, n // group] += scale * slope.T @ q
        slopes[2][b, :, n // group] += w.T @ g
    return output, weights, slopes


def _softmax(scores, allowed):
    scores = np.where(allowed, scores, -np.inf)
    peak = scores.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isfinite(peak), peak, 0))
    total = weights.sum(-1, keepdims=True)
    return weights / np.where(total == 0, 1, total)
