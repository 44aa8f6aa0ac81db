"""Recurrent layers on real steps only, by the kernels of PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras_padsafe.ops.hide import hide
from keras_padsafe.types import Tensor


def on_real_steps(
    module: Any,
    weights: Mapping[str, Tensor],
    sequences: Tensor,
    states: Sequence[Tensor],
    mask: Tensor,
) -> Tensor:
    """Runs a recurrent module of PyTorch on the real steps of each row.

    They are moved to the front, since no step looks at what comes after it. Packed
    sequences would save the rest of the padding, but their gradient on a CPU takes
    time that grows with the square of theirs.

    Args:
        module: An LSTM, GRU or RNN of one layer, batch first.
        weights: Its weights, by name.
        sequences: Tensor `(batch, time, dim)`.
        states: What the module starts with, each `(batch, units)`.
        mask: True = real step, `(batch, time)`, wherever the padding is.

    Returns:
        The outputs `(batch, time, units)`. As in Keras, a padded step repeats the
        output before it, which is 0 before the first real step.
    """
    import torch

    real = torch.argsort((~mask).byte(), dim=1, stable=True)
    real = real[:, : max(1, int(mask.sum(1).max()))]
    start = [state[None] for state in states]
    given = _take(sequences, real), tuple(start) if len(start) > 1 else start[0]
    outputs, _ = torch.func.functional_call(module, dict(weights), given)
    latest = mask.cumsum(1) - 1
    outputs = _take(outputs, latest.clamp(min=0))
    return hide(outputs, latest >= 0)


def _take(x: Any, steps: Any) -> Any:
    """Takes steps `(batch, n)` of `x`, `(batch, time, dim)`."""
    import torch

    rows = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
    flat = x.reshape(-1, x.shape[-1]).index_select(0, (rows + steps).reshape(-1))
    return flat.reshape(*steps.shape, -1)
