"""Recurrent layers of Keras by the kernels of PyTorch, where a batch is masked.

Keras itself takes such a batch one step after the other there, in Python.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_padsafe.compat import inner_layers, other_loop
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.real_steps import on_real_steps
from keras_padsafe.ops.real_tokens import why_whole
from keras_padsafe.types import Tensor

# PyTorch's module for each layer, and the places of its gates in Keras's weights.
_MODULES: dict[type, tuple[str, tuple[int, ...]]] = {
    keras.layers.LSTM: ("LSTM", (0, 1, 2, 3)),
    keras.layers.GRU: ("GRU", (1, 0, 2)),
    keras.layers.SimpleRNN: ("RNN", (0,)),
}
_TANH, _SIGMOID = keras.activations.tanh, keras.activations.sigmoid


@contextlib.contextmanager
def rnn_kernels(model: keras.layers.Layer) -> Iterator[None]:
    """While it lasts, recurrent layers in `model` use kernels, on PyTorch.

    Their answers stay the same. A layer that PyTorch has no kernel for runs as ever.
    """
    with contextlib.ExitStack() as stack:
        if keras.backend.backend() == "torch":
            for layer in inner_layers(model):
                if _has_kernel(layer):
                    stack.enter_context(other_loop(layer, _by_kernel(layer)))
        yield


def _has_kernel(layer: Any) -> bool:
    if type(layer) not in _MODULES or layer.dropout or layer.recurrent_dropout:
        return False
    if layer.stateful or layer.return_state:  # What follows padding is not known.
        return False
    gate = getattr(layer, "recurrent_activation", _SIGMOID)
    after = getattr(layer, "reset_after", True)
    return layer.activation is _TANH and gate is _SIGMOID and after


def _by_kernel(layer: Any) -> Callable[..., Any]:
    """Returns what may stand in the place of `layer.inner_loop`."""
    steps_of_keras = type(layer).inner_loop.__get__(layer)

    def inner_loop(
        sequences: Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        flat = keras.tree.flatten(mask)
        real = flat[0] if flat else None
        other = keras.backend.standardize_dtype(sequences.dtype) != "float32"
        if real is None or other or _casts() or why_whole([sequences], [real]):
            return steps_of_keras(sequences, initial_state, mask, training=training)
        if layer.go_backwards:
            sequences, real = ops.flip(sequences, 1), ops.flip(real, 1)
        module, weights = _in_torch(layer, sequences.shape[-1])
        outputs = on_real_steps(module, weights, sequences, initial_state, real)
        if layer.zero_output_for_mask:
            outputs = hide(outputs, real)
        return outputs[:, -1], outputs, []  # The layer keeps no state.

    return inner_loop


def _casts() -> bool:
    """Whether PyTorch casts what its kernels get, to dtypes that not all take."""
    import torch

    return torch.is_autocast_enabled("cpu")


def _in_torch(layer: Any, dim: int) -> tuple[Any, dict[str, Tensor]]:
    """The layer as a module of PyTorch without values, and its weights by name."""
    import torch

    name, gates = _MODULES[type(layer)]
    module = getattr(torch.nn, name)(dim, layer.units, batch_first=True, device="meta")

    def by_gate(x: Any) -> Any:
        parts = x.chunk(len(gates), dim=-1)
        return torch.cat([parts[gate] for gate in gates], dim=-1)

    cell = layer.cell
    into, over = (
        by_gate(ops.convert_to_tensor(kernel)).T.contiguous()
        for kernel in (cell.kernel, cell.recurrent_kernel)
    )
    none = into.new_zeros(2, into.shape[0])
    bias = none if cell.bias is None else by_gate(ops.convert_to_tensor(cell.bias))
    first, second = bias if len(bias.shape) == 2 else (bias, none[0])
    names = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
    return module, dict(zip(names, (into, over, first, second), strict=True))
