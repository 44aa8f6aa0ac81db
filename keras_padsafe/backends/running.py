"""Gradients, staged tensors, random states and double precision of each backend."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from keras_padsafe.types import Tensor


def is_staged(tensor: Tensor) -> bool:
    """Whether a tensor stands for a value that a compiled loop will have later."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return isinstance(tensor, jax.core.Tracer)
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.is_symbolic_tensor(tensor)
    return False


_firm = False


@contextmanager
def loops_in_python(are: bool, firmly: bool = False) -> Iterator[None]:
    """While it lasts, JAX runs the code in a loop at each step, and stages none of it.

    Other backends do so anyway, where they run eagerly.

    Args:
        are: Whether they do; if not, loops are compiled again.
        firmly: Whether calls within cannot change that.
    """
    global _firm
    if keras.backend.backend() != "jax" or _firm:
        yield
        return
    import jax

    _firm = firmly
    try:
        with jax.disable_jit(are):
            yield
    finally:
        _firm = False


@contextmanager
def at_once() -> Iterator[None]:
    """While it lasts, JAX computes what is at hand, though it compiles something."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.ensure_compile_time_eval():
        yield


def is_recorded(tensors: Sequence[Tensor]) -> bool:
    """Whether PyTorch traces, computes shapes only, or maps over tensors."""
    if keras.backend.backend() != "torch":
        return False
    import torch
    from torch.autograd import forward_ad
    from torch.utils import _python_dispatch as dispatch

    plain = torch.Tensor, torch.nn.Parameter
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined]
        or forward_ad._current_level >= 0
        or bool(dispatch._get_current_dispatch_mode_stack())
        or any(type(x) not in plain or x.device.type == "meta" for x in tensors)
        or any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in tensors)
    )


def are_at_hand(tensors: Sequence[Tensor]) -> bool:
    """Whether PyTorch can read tensors without waiting, and records nothing."""
    return not is_recorded(tensors) and all(x.device.type == "cpu" for x in tensors)


def start_random_numbers_at(seed: int) -> None:
    """Seeds the random numbers that are no state of Keras: those of PyTorch."""
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


@contextmanager
def own_random_state() -> Iterator[None]:
    """Gives PyTorch its random state back; other backends have none beside Keras's."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        yield


def as_one(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function as one compiled one where that is quicker than piece by piece.

    On JAX each operation is compiled by itself otherwise, and its gradient too.
    """
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def gradients(
    function: Callable[[list[Tensor], list[Tensor]], Tensor],
    tensors: Sequence[Tensor],
    variables: Sequence[keras.Variable],
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Gradients of a scalar by tensors and by variables, eagerly.

    Args:
        function: Takes the tensors and the values of the variables, which it must use
            in their place; returns a scalar.
        tensors: Floating-point tensors.
        variables: Floating-point variables.

    Returns:
        The gradients by the tensors, and those by the variables. `None` where the
        scalar does not depend on it; on JAX that is a gradient of zeros.
    """
    values = [variable.value for variable in variables]
    both = _GRADIENTS[keras.backend.backend()](function, list(tensors), values)
    return both[: len(tensors)], both[len(tensors) :]


def _jax(function: Any, tensors: list[Tensor], values: list[Tensor]) -> list[Any]:
    import jax

    by_tensors, by_values = jax.grad(function, argnums=(0, 1))(tensors, values)
    return [*by_tensors, *by_values]


def _tensorflow(
    function: Any, tensors: list[Tensor], values: list[Tensor]
) -> list[Any]:
    import tensorflow as tf

    values = [tf.identity(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch([*tensors, *values])
        scalar = function(tensors, values)
    found = tape.gradient(scalar, [*tensors, *values])
    return [None if g is None else tf.convert_to_tensor(g) for g in found]


def _torch(function: Any, tensors: list[Tensor], values: list[Tensor]) -> list[Any]:
    import torch

    with torch.enable_grad():
        leaves = [
            tensor.detach().clone().requires_grad_() for tensor in [*tensors, *values]
        ]
        scalar = function(leaves[: len(tensors)], leaves[len(tensors) :])
        if not scalar.requires_grad:
            return [None] * len(leaves)
        return list(torch.autograd.grad(scalar, leaves, allow_unused=True))


_GRADIENTS = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}


@contextmanager
def double_precision() -> Iterator[None]:
    """While it lasts, float64 tensors exist; JAX makes them float32 otherwise."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    with jax.enable_x64(True):
        yield
